"""The plan ``fused`` on a GPU: as ``folded``, with batch norm, neurons and pooling by Triton."""

from __future__ import annotations

from typing import cast

import snntorch as snn
from torch import Tensor

from pipelines.kernels.batch_norm import Norm
from pipelines.kernels.gpu import norm_scan, scan
from pipelines.networks.plans.folded import Folded, Layer
from pipelines.networks.stages import Stage, scan_window


class FusedGpu(Folded):
    """Convolutions and linear layers are PyTorch's; the neurons must be leaky."""

    name = "fused"

    def layer(self, stage: Stage, x: Tensor, gate: Tensor | None) -> Layer:
        """Compute a layer without shortcuts; batch norm, neurons and pooling are one function."""
        received, current = self.weigh(stage.weights, x)
        window = 1 if gate is not None else scan_window(stage.pool, current.shape)
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

    def fire(self, stage: Stage, current: Tensor) -> Tensor:
        """Apply the neurons of a layer that a shortcut leads to, or away from."""
        neuron = cast(snn.Leaky, stage.neuron)
        return scan.lif_scan(current, neuron, self.spec.steps, self.spec.surrogate)
