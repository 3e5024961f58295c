"""Shapes of the weights of a network, from its layout alone: nothing is built."""

from __future__ import annotations

import math
from functools import lru_cache

from pipelines.settings.layout import Token, has_projection, parse_layout
from pipelines.settings.network import READOUT


@lru_cache(maxsize=4096)
def weight_shapes(
    layout: str, input_shape: tuple[int, int, int], classes: int
) -> dict[str, tuple[int, int]]:
    """Return the weights of each layer as a matrix, as a network of this layout has them.

    Parameters
    ----------
    layout
        The layout.
    input_shape
        Shape of one sample at one time step, [C, H, W].
    classes
        Number of classes.

    Returns
    -------
    dict
        Layer -> (outputs, weights per output), the readout included. A projection shortcut has the
        name of the layer at the end of its block, and ``_shortcut``.

    Raises
    ------
    ValueError
        If the layout is not valid.
    """
    shapes: dict[str, tuple[int, int]] = {}
    block: list[Token] = []
    shape, entry = input_shape, 0
    counts = {"conv": 0, "fc": 0}
    for token in parse_layout(layout):
        channels, height, width = shape
        if token.kind in counts:
            counts[token.kind] += 1
            name = f"{token.kind}{counts[token.kind]}"
        if token.kind == "fc":
            shapes[name] = (token.size, math.prod(shape))
            shape = (token.size, 1, 1)
        elif token.kind == "conv":
            if token.opens:
                block, entry = [], channels
            block.append(token)
            shapes[name] = (token.size, channels * token.kernel**2)
            shape = (token.size, *_slide(height, width, token.kernel, token.stride or 1, True))
            if token.closes and has_projection(block):
                shapes[f"{name}_shortcut"] = (token.size, entry)
        elif token.kind == "gap":
            shape = (channels, 1, 1)
        else:
            step = token.stride or token.size
            shape = (channels, *_slide(height, width, token.size, step, bool(token.stride)))
    return shapes | {READOUT: (classes, math.prod(shape))}


def _slide(height: int, width: int, window: int, step: int, padded: bool) -> tuple[int, int]:
    """Size of a map after a window has passed, with padding `window` // 2 or without."""
    padding = window // 2 if padded else 0
    return (
        (height + 2 * padding - window) // step + 1,
        (width + 2 * padding - window) // step + 1,
    )
