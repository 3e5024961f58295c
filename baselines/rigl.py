"""RigL: grow connections where the gradient is largest (Evci et al. 2020, arXiv 1911.11134).

Training is sparse from the start, at Erdos-Renyi-kernel densities. At each update a layer drops the
share fraction / 2 * (1 + cos(pi * progress / stop)) of its connections, those of smallest weight.
It grows as many connections where abs(dL/dw) is largest, among those that were absent before the
update. Their weights start at zero. The paper recommends fraction 0.3, stop 0.75, and an update
every 100 steps of its long runs.

ESL-SNNs (Shen et al. 2023, arXiv 2306.03693) train spiking networks in this way.

Adapted: the number of updates per run is fixed instead of the interval. A dropped connection does
not come back in the same update.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo, Quantity
from baselines.shared.schedules import cosine
from baselines.shared.selection import Scope
from baselines.shared.sparse_training import SparseTraining


@dataclass
class RigL(SparseTraining):
    """Drop the smallest weights and grow those of largest gradient, fewer at each update.

    Parameters
    ----------
    fraction
        Share of a layer's connections that is exchanged at progress 0, in [0, 1].
    updates, stop, scope
        As in `SparseTraining`.
    """

    info = PrunerInfo(
        name="rigl",
        summary="Sparse training that drops small weights and grows those of largest gradient.",
        paper="Evci et al. 2020, Rigging the lottery, arXiv 1911.11134",
        granularities=("unstructured",),
        needs_gradients=True,
    )

    fraction: float = 0.3
    updates: int = 30
    stop: float = 0.75
    scope: Scope = "erk"

    def exchanged(self, progress: float) -> float:
        """Share of a layer's connections to exchange: `fraction` times a falling half cosine."""
        return self.fraction * cosine(progress, self.stop)

    def gradients(self) -> None:
        """Keep the gradients of this batch; the next backward pass makes new tensors."""
        self.latest = {name: weight.grad for name, weight in self.layer_weights().items()}

    def grow_scores(self, layer: str, shape: torch.Size) -> Tensor:
        """Absolute gradients of the last batch, of `shape`."""
        gradient = self.latest[layer]
        assert gradient is not None
        return gradient.abs()

    def fidelity(self) -> tuple[Quantity, ...]:
        """Share of a layer's connections that the first exchange replaces."""
        return (Quantity("share exchanged by the first update", self.fraction, "0.3", 0.01),)
