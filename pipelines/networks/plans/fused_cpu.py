"""The plan ``fused`` on a CPU: as ``folded``, with compiled kernels.

A layer is one autograd function, four calls deep: `FusedCpu.layer`, `norm_scan.norm_and_scan`, its
`torch.autograd.Function`, the kernel of the weights, and the C code.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import snntorch as snn
from torch import Tensor, nn

from pipelines.kernels.batch_norm import Norm
from pipelines.kernels.cpu import grey_convolution, norm_scan, spike_convolution
from pipelines.kernels.scan import NEURON
from pipelines.kernels.seam import Prepared
from pipelines.networks.plans.folded import Folded, Layer
from pipelines.networks.stages import Stage, scan_window
from pipelines.settings.network import NetworkSpec

#: Every kernel by its name in pipelines/kernels/README.md.
KERNELS = frozenset(("grey_convolution", "norm_scan", "spike_convolution"))


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
        prepared = self.prepare(stage.weights, x)
        received, current = (x, prepared) if prepared else super().weigh(stage.weights, x)
        # A convolution that a kernel computes keeps the size of its maps.
        shape = current.shape if isinstance(current, Tensor) else x.shape
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
        prepared = self.prepare(weights, x)
        return (x, prepared()) if prepared else super().weigh(weights, x)

    def prepare(self, weights: nn.Module, x: Tensor) -> Prepared | None:
        """Return the weights of a convolution in a kernel, or None if no kernel fits."""
        if not isinstance(weights, nn.Conv2d):
            return None
        if "grey_convolution" in self.kernels and (found := grey_convolution.prepare(weights, x)):
            return found
        if "spike_convolution" not in self.kernels or self.spec.kind != "snn":
            return None
        return spike_convolution.prepare(weights, x)
