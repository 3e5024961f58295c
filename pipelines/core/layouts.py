"""How a network is written down: a layout such as ``16C3-MP2-32C3-MP2-64FC``, and its settings.

Tokens: ``nCk`` convolution of n channels and k x k kernel (padding k // 2) with batch norm,
``MPk`` / ``APk`` max / average pooling, ``nFC`` linear layer of n neurons with batch norm. A
linear readout of one output per class is added; it is never pruned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: Networks by the names that papers give them, without the readout, which is always added.
#: 2Conv2FC and 6Conv2FC: DPAP (arXiv 2211.12714, Table I). VGG16: configuration D of Simonyan and
#: Zisserman (arXiv 1409.1556) with batch norm, and 512 neurons on top as usual on 32 x 32.
NAMED = {
    "2Conv2FC": "15C3-AP2-40C3-AP2-300FC",
    "6Conv2FC": "128C3-128C3-MP2-256C3-256C3-MP2-512C3-512C3-512FC",
    "VGG16": "64C3-64C3-MP2-128C3-128C3-MP2-256C3-256C3-256C3-MP2-512C3-512C3-512C3-MP2-"
    "512C3-512C3-512C3-MP2-512FC",
}

Reset = Literal["zero", "subtract"]
Surrogate = Literal["atan", "fast_sigmoid"]

_TOKEN = re.compile(
    r"(?P<conv>[1-9]\d*)C(?P<kernel>\d+)|(?P<pool>[MA])P(?P<size>\d+)|(?P<fc>[1-9]\d*)FC"
)


class NetworkSpec(BaseModel):
    """A network, as written in params.yaml.

    Parameters
    ----------
    kind
        ``snn``: `snntorch.Leaky` neurons over `time_steps`; ``ann``: ReLU, one step.
    layout
        See `pipelines.core.layouts`; or a name in `NAMED`, which stands for its layout.
    time_steps
        T; a static input is shown T times (direct encoding).
    beta
        Membrane decay per step, in [0, 1], at the start.
    learn_beta
        Whether each layer learns its beta.
    threshold
        Firing threshold.
    reset
        ``zero`` (hard, as DPAP's networks) or ``subtract``.
    surrogate
        Surrogate gradient, snnTorch's defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["snn", "ann"]
    layout: str
    time_steps: int = Field(1, ge=1)
    beta: float = Field(0.5, ge=0, le=1)
    learn_beta: bool = True
    threshold: float = Field(1.0, gt=0)
    reset: Reset = "zero"
    surrogate: Surrogate = "atan"

    @field_validator("layout")
    @classmethod
    def _layout(cls, layout: str) -> str:
        layout = NAMED.get(layout, layout)
        parse_layout(layout)
        return layout

    def with_widths(self, widths: Sequence[int]) -> NetworkSpec:
        """Return the same network with other widths, one for each prunable layer."""
        return self.model_copy(update={"layout": with_widths(self.layout, widths)})


class Execution(BaseModel):
    """How a network is computed; plans and live shrink change a result by rounding alone.

    Parameters
    ----------
    plan
        ``step``: snnTorch, one time step after another; the oracle. ``folded``: layer by layer,
        time folded into the batch. ``fused``: folded, with batch norm and neurons in one
        compiled function, and pooling in another; on a GPU the neurons in a kernel of their own.
        As ``folded`` where there is no C compiler, or no Triton.
    precision
        ``float32``, or ``bfloat16``: weights and state in float32, convolutions and linear
        layers in bfloat16.
    live_shrink
        Whether dead units are removed while training goes on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: Literal["step", "folded", "fused"] = "folded"
    precision: Literal["float32", "bfloat16"] = "float32"
    live_shrink: bool = True


@dataclass(frozen=True)
class Token:
    """One token of a layout: kind ``conv``, ``fc``, ``max`` or ``avg``, and its numbers."""

    kind: Literal["conv", "fc", "max", "avg"]
    size: int
    kernel: int = 1


def parse_layout(layout: str) -> list[Token]:
    """Read a layout.

    Raises
    ------
    ValueError
        If a token is unknown, pooling comes first or after a linear layer, or a convolution
        follows a linear layer.
    """
    tokens: list[Token] = []
    for text in layout.split("-"):
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise ValueError(f"layout '{layout}': '{text}' is none of nCk, MPk, APk, nFC")
        if match["conv"]:
            token = Token("conv", int(match["conv"]), int(match["kernel"]))
        elif match["fc"]:
            token = Token("fc", int(match["fc"]))
        else:
            token = Token("max" if match["pool"] == "M" else "avg", int(match["size"]))
        if token.kind != "fc" and any(t.kind == "fc" for t in tokens):
            raise ValueError(f"layout '{layout}': '{text}' follows a linear layer")
        if token.kind in ("max", "avg") and (not tokens or tokens[-1].kind != "conv"):
            raise ValueError(f"layout '{layout}': '{text}' must follow a convolution")
        tokens.append(token)
    return tokens


def with_widths(layout: str, widths: Sequence[int]) -> str:
    """Write a layout with other widths, one for each of its ``C`` and ``FC`` tokens."""
    left = iter(widths)
    tokens = []
    for token in parse_layout(layout):
        if token.kind == "conv":
            tokens.append(f"{next(left)}C{token.kernel}")
        elif token.kind == "fc":
            tokens.append(f"{next(left)}FC")
        else:
            tokens.append(f"{'M' if token.kind == 'max' else 'A'}P{token.size}")
    return "-".join(tokens)
