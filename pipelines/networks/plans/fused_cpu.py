"""The plan ``fused`` on a CPU: as ``folded``, with compiled kernels.

A layer is one autograd function, four calls deep: `FusedCpu.layer`, `norm_scan.norm_and_scan`, its
`torch.autograd.Function`, the kernel of the weights, and the C code.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import cast

import snntorch as snn
from torch import Tensor, nn

from pipelines.kernels import linear
from pipelines.kernels.batch_norm import Norm
from pipelines.kernels.cpu import grey_convolution, norm_scan, pooling, spike_convolution
from pipelines.kernels.scan import NEURON
from pipelines.kernels.seam import Prepared
from pipelines.networks.plans.folded import Folded, Layer
from pipelines.networks.plans.plan import over_time
from pipelines.networks.stages import Stage, pool_window, scan_window
from pipelines.settings.network import NetworkSpec

#: Every kernel by its name in pipelines/kernels/README.md.
KERNELS = frozenset(
    ("grey_convolution", "linear", "norm_scan", "pooling", "spike_convolution", "winograd")
)


class FusedCpu(Folded):
    """Compiled kernels where they fit, PyTorch elsewhere.

    Parameters
    ----------
    spec
        Of the network.
    kernels
        Names of the kernels that may be used.

    Raises
    ------
    ValueError
        If there is no kernel of such a name.
    """

    name = "fused"

    def __init__(self, spec: NetworkSpec, kernels: Collection[str] = KERNELS) -> None:
        super().__init__(spec)
        self.kernels = frozenset(kernels)
        if unknown := self.kernels - KERNELS:
            raise ValueError(f"there is no kernel {sorted(unknown)}; there are {sorted(KERNELS)}")

    def layer(self, stage: Stage, x: Tensor, gate: Tensor | None) -> Layer | None:
        """Compute a layer of leaky neurons without shortcuts in one autograd function."""
        if "norm_scan" not in self.kernels or self.spec.neuron_model != NEURON:
            return None
        received, current = self.prepare(stage.weights, x) or super().weigh(stage.weights, x)
        # A convolution that a kernel computes keeps the size of its maps.
        shape = current.x.shape if isinstance(current, Prepared) else current.shape
        window = 1 if gate is not None else scan_window(stage.pool, shape)
        pooled, sent = norm_scan.norm_and_scan(
            current,
            cast(Norm, stage.norm),
            cast(snn.Leaky, stage.neuron),
            self.spec.steps,
            self.spec.surrogate,
            window,
        )
        if window > 1:
            return Layer(received, sent, pooled)
        return self.send(stage, received, pooled, gate)

    def weigh(self, weights: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the weights of a layer: its input as the weights take it, and the result."""
        found = self.prepare(weights, x)
        return (found[0], found[1]()) if found else super().weigh(weights, x)

    def prepare(self, weights: nn.Module, x: Tensor) -> tuple[Tensor, Prepared] | None:
        """Return the input of a layer and its weights in a kernel, or None if no kernel fits."""
        found: Prepared | None = None
        if isinstance(weights, nn.Linear):
            found = linear.prepare(weights, x) if "linear" in self.kernels else None
            return (found.lists[0], found) if found else None
        assert isinstance(weights, nn.Conv2d)
        if "grey_convolution" in self.kernels:
            found = grey_convolution.prepare(weights, x)
        if found is None and "spike_convolution" in self.kernels and self.spec.kind == "snn":
            winograd = "winograd" in self.kernels
            found = spike_convolution.prepare(weights, x, use_winograd=winograd)
        return (x, found) if found else None

    def pool(self, pool: nn.Module, y: Tensor) -> Tensor:
        """Apply a layer's pooling to maps [T, B, C, H, W]; without pooling, to any tensor."""
        size = pool_window(pool)
        if size and "pooling" in self.kernels and pooling.available(y.dtype):
            return over_time(partial(pooling.max_pool, size=size), y)
        return super().pool(pool, y)
