"""How a network is written down: a layout such as ``16C3-MP2-32C3-MP2-64FC``, in tokens.

``nCk`` is a convolution of n channels and k x k kernel (padding k // 2) with batch norm, ``nCksS``
the same with stride S; ``MPk`` / ``APk`` max / average pooling, ``MPksS`` max pooling in windows
that overlap (stride S, padding k // 2), ``GAP`` the average of the whole map; ``nFC`` a linear
layer of n neurons with batch norm. A linear readout of one output per class is added; it is never
pruned.

``[nCk-nCk]`` is a residual block: what it reads is added to the current of its last convolution.
The shortcut is the identity; in a block with a stride, and in one written ``[nCk-nCk]P``, it is a
projection, a 1 x 1 convolution of the block's stride and output width with batch norm. A block that
changes its width without a stride has to say so: pruning may make both widths equal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

_TOKEN = re.compile(
    r"(?P<opens>\[?)(?P<conv>[1-9]\d*)C(?P<kernel>[1-9]\d*)(s(?P<stride>[2-9]))?(?P<closes>(\]P?)?)"
    r"|(?P<pool>[MA])P(?P<side>[1-9]\d*)|MP(?P<window>[1-9]\d*)s(?P<step>[2-9])|(?P<whole>GAP)"
    r"|(?P<fc>[1-9]\d*)FC"
)


@dataclass(frozen=True)
class Token:
    """One token of a layout.

    Parameters
    ----------
    kind
        ``conv``, ``fc``, ``max``, ``avg`` or ``gap``.
    size
        Units, or the side of a pooling window; 0: the whole map.
    kernel
        Of a convolution.
    stride
        Of a convolution, or of windows that overlap; 0: windows lie side by side.
    opens, closes
        Whether a residual block begins or ends with this convolution.
    projects
        Whether ``P`` is written behind the block that it ends.
    """

    kind: Literal["conv", "fc", "max", "avg", "gap"]
    size: int = 0
    kernel: int = 1
    stride: int = 0
    opens: bool = False
    closes: bool = False
    projects: bool = False

    def __str__(self) -> str:
        stride = f"s{self.stride}" if self.stride > 1 else ""
        if self.kind == "conv":
            closes = "]" * self.closes + "P" * self.projects
            return f"{'[' * self.opens}{self.size}C{self.kernel}{stride}{closes}"
        if self.kind == "fc":
            return f"{self.size}FC"
        return "GAP" if self.kind == "gap" else f"{self.kind[0].upper()}P{self.size}{stride}"


@cache
def parse_layout(layout: str) -> tuple[Token, ...]:
    """Read a layout.

    Raises
    ------
    ValueError
        If a token is unknown, pooling or a residual block comes first or after a linear layer, a
        convolution follows a linear layer, or a residual block is not closed, holds anything but
        convolutions of odd kernels, or needs a projection that is not written.
    """
    try:
        return tuple(_parse(layout))
    except ValueError as error:
        raise ValueError(f"layout '{layout}': {error}") from None


def with_widths(layout: str, widths: Sequence[int]) -> str:
    """Write a layout with other widths, one for each of its ``C`` and ``FC`` tokens.

    Raises
    ------
    ValueError
        If a block whose shortcut is the identity would change its width.
    """
    left = iter(widths)
    tokens = [
        replace(token, size=next(left)) if token.kind in ("conv", "fc") else token
        for token in parse_layout(layout)
    ]
    text = "-".join(map(str, tokens))
    parse_layout(text)
    return text


def has_projection(block: Sequence[Token]) -> bool:
    """Whether the shortcut of a residual block is a projection, not the identity."""
    return block[-1].projects or any(token.stride > 1 for token in block)


def _parse(layout: str) -> list[Token]:
    tokens: list[Token] = []
    block: list[Token] = []
    for text in layout.split("-"):
        token = _token(text)
        _check_place(token, tokens)
        if block and token.opens:
            raise ValueError(f"'{text}' opens a block within a block")
        if block or token.opens:
            block.append(token)
            _check_in_block(token)
        elif token.closes:
            raise ValueError(f"'{text}' closes a block that was not opened")
        tokens.append(token)
        if token.closes:
            _check_shortcut(block, tokens[: -len(block)])
            block = []
    if block:
        raise ValueError(f"'{block[0]}' opens a block that is not closed: ']' is missing")
    return tokens


def _token(text: str) -> Token:
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise ValueError(
            f"'{text}' is none of nCk, MPk, APk, GAP, nFC, with stride nCksS, MPksS, or in a "
            "residual block [nCk-nCk]"
        )
    if match["conv"]:
        size, kernel, stride = int(match["conv"]), int(match["kernel"]), int(match["stride"] or 1)
        opens, closes = bool(match["opens"]), bool(match["closes"])
        return Token("conv", size, kernel, stride, opens, closes, match["closes"] == "]P")
    if match["fc"]:
        return Token("fc", int(match["fc"]))
    if match["whole"]:
        return Token("gap")
    if match["window"]:
        if int(match["step"]) >= int(match["window"]):
            raise ValueError(f"the windows of '{text}' do not overlap; write MP{match['window']}")
        return Token("max", int(match["window"]), stride=int(match["step"]))
    return Token("max" if match["pool"] == "M" else "avg", int(match["side"]))


def _check_place(token: Token, before: Sequence[Token]) -> None:
    if token.kind != "fc" and any(t.kind == "fc" for t in before):
        raise ValueError(f"'{token}' follows a linear layer")
    pools = token.kind in ("max", "avg", "gap")
    if (pools and (not before or before[-1].kind != "conv")) or (token.opens and not before):
        raise ValueError(f"'{token}' must follow a convolution")


def _check_in_block(token: Token) -> None:
    if token.kind != "conv" or token.kernel % 2 == 0:
        raise ValueError(
            f"'{token}' stands in a residual block, which holds convolutions of odd kernels only"
        )


def _check_shortcut(block: Sequence[Token], before: Sequence[Token]) -> None:
    width = [token.size for token in before if token.kind == "conv"][-1]
    if width != block[-1].size and not has_projection(block):
        text = "-".join(map(str, block))
        raise ValueError(
            f"block '{text}' turns {width} channels into {block[-1].size}, so its shortcut is no "
            f"identity; write '{text}P' for a projection"
        )
