"""The layout of a network, a text of tokens such as ``16C3-MP2-32C3-MP2-64FC``.

========= ========================================================================================
token     meaning
========= ========================================================================================
``nCk``   convolution of n channels with a k x k kernel, padding k // 2, and batch norm
``nCksS`` the same with stride S
``MPk``   max pooling in windows of k x k that do not overlap
``APk``   average pooling in windows of k x k that do not overlap
``MPksS`` max pooling in windows of k x k that overlap: stride S, padding k // 2
``GAP``   global average pooling, the average of the whole map
``nFC``   linear layer of n neurons with batch norm
========= ========================================================================================

Every network ends with a linear readout of one output per class. The layout does not name the
readout, and it is never pruned.

``[nCk-nCk]`` is a residual block: a shortcut adds the input of the block to the current of its last
convolution. The shortcut is the identity, or a projection: a 1 x 1 convolution with batch norm that
has the stride and the output width of the block. The shortcut is a projection in a block with a
stride, and in a block that is written ``[nCk-nCk]P``. A block without a stride that changes its
width must be written with ``P``: the widths alone do not tell, because pruning may make them equal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from pipelines.settings.limits import LAYOUT, UNITS

_TOKEN = re.compile(
    r"(?P<opens>\[?)(?P<conv>[1-9][0-9]*)C(?P<kernel>[1-9][0-9]*)(s(?P<stride>[2-9]))?(?P<closes>(\]P?)?)"
    r"|(?P<pool>[MA])P(?P<side>[1-9][0-9]*)|MP(?P<window>[1-9][0-9]*)s(?P<step>[2-9])|(?P<whole>GAP)"
    r"|(?P<fc>[1-9][0-9]*)FC"
)


@dataclass(frozen=True)
class Token:
    """One token of a layout.

    Parameters
    ----------
    kind
        ``conv``, ``fc``, ``max`` pooling, ``avg`` pooling, or ``gap``.
    size
        Number of channels or neurons; of pooling, the side of a window, 0 for the whole map.
    kernel
        Side of the kernel of a convolution.
    stride
        Stride of a convolution, or of pooling windows that overlap; 0 if they do not overlap.
    opens, closes
        Whether a residual block begins or ends with this convolution.
    projects
        Whether ``P`` follows the block that ends with this convolution.
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
    """Read the tokens of a layout.

    Raises
    ------
    ValueError
        If a token is unknown; if pooling or a residual block comes first; if a convolution,
        pooling or a residual block follows a linear layer; if a residual block is not closed,
        holds anything but convolutions of odd kernels, or needs a ``P`` that is missing.
    """
    try:
        return tuple(_parse(layout))
    except ValueError as error:
        raise ValueError(f"layout '{layout[:100]}': {error}") from None


def with_widths(layout: str, widths: Sequence[int]) -> str:
    """Return a layout with other widths, one for each of its ``C`` and ``FC`` tokens.

    Raises
    ------
    ValueError
        If a block whose shortcut is the identity would change its width.
    """
    remaining = iter(widths)
    tokens = [
        replace(token, size=next(remaining)) if token.kind in ("conv", "fc") else token
        for token in parse_layout(layout)
    ]
    text = "-".join(map(str, tokens))
    parse_layout(text)
    return text


def has_projection(block: Sequence[Token]) -> bool:
    """Whether the shortcut of a residual block is a projection, not the identity."""
    return block[-1].projects or any(token.stride > 1 for token in block)


def _parse(layout: str) -> list[Token]:
    if len(layout) > LAYOUT:
        raise ValueError(f"it has more than {LAYOUT} characters")
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
    if any(
        len(digits) > len(str(UNITS)) or int(digits) > UNITS
        for digits in re.findall(r"[0-9]+", text)
    ):
        raise ValueError(f"'{text[:20]}' has a number above {UNITS:,}")
    if match is None:
        raise ValueError(
            f"'{text[:20]}' is none of nCk, MPk, APk, GAP, nFC; with a stride nCksS, MPksS; in a "
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
    """Check that a token may follow the tokens before it."""
    if token.kind != "fc" and any(earlier.kind == "fc" for earlier in before):
        raise ValueError(f"'{token}' follows a linear layer")
    after_convolution = bool(before) and before[-1].kind == "conv"
    if token.kind in ("max", "avg", "gap") and not after_convolution:
        raise ValueError(f"'{token}' must follow a convolution")
    if token.opens and not before:
        raise ValueError(f"'{token}' must follow a convolution")


def _check_in_block(token: Token) -> None:
    """Check that a token may be in a residual block."""
    if token.kind != "conv" or token.kernel % 2 == 0:
        raise ValueError(
            f"'{token}' stands in a residual block, which holds convolutions of odd kernels only"
        )


def _check_shortcut(block: Sequence[Token], before: Sequence[Token]) -> None:
    """Check that a block whose shortcut is the identity keeps its width."""
    width = [token.size for token in before if token.kind == "conv"][-1]
    if width != block[-1].size and not has_projection(block):
        text = "-".join(map(str, block))
        raise ValueError(
            f"block '{text}' turns {width} channels into {block[-1].size}, so its shortcut is no "
            f"identity; write '{text}P' for a projection"
        )
