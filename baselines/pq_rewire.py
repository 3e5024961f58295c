"""Rewiring by compressibility: the PQ index sets how many connections are exchanged.

Shen et al. 2025 (ICLR, arXiv 2502.13572; after the abstract, because the full text was not
available) train a sparse spiking network. The PQ index of its weights says how compressible the
network is, and this determines the share of connections that are pruned and regrown.

The index and the bound are those of Diao et al. 2023 (arXiv 2302.05601). For d weights,
I = 1 - d^(1/q - 1/p) * ||w||_p / ||w||_q with p < q: 0 if all magnitudes are equal, near 1 if few
are large. At least d * (1 - I)^(pq / (q - p)) weights must stay. So the share
gamma * (1 - (1 - I)^(pq / (q - p))) is exchanged, in each layer by its own index.

Adapted: the number of connections is constant and meets the density; in the paper it adapts.
Connections of largest gradient regrow, as in RigL.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.sparse_training import SparseTraining


@dataclass
class PQRewire(SparseTraining):
    """Drop small weights and grow those of largest gradient, as many as the PQ index says.

    Parameters
    ----------
    fraction
        Largest share of a layer's connections that one update exchanges, in [0, 1].
    updates, stop, scope
        As in `SparseTraining`.
    p, q
        Norms of the index, 0 < p < q.
    gamma
        Factor of the exchanged share, >= 0.
    """

    info = PrunerInfo(
        name="pq_rewire",
        summary="Sparse training whose rewired share follows the compressibility of each layer.",
        paper="Shen et al. 2025, Sparse structure learning, ICLR, arXiv 2502.13572",
        granularities=("unstructured",),
        needs_gradients=True,
        after_abstract=True,
    )

    fraction: float = 0.9
    p: float = 0.5
    q: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.p < self.q:
            raise ValueError(f"need 0 < p < q, not p {self.p}, q {self.q}")
        if self.gamma < 0:
            raise ValueError(f"gamma must be at least 0, not {self.gamma}")

    def gradients(self) -> None:
        """Keep the gradients of this batch; the next backward pass makes new tensors."""
        self.latest = {name: weight.grad for name, weight in self.layer_weights().items()}

    def number(self, layer: str, progress: float) -> int:
        """Return how many connections of a layer are exchanged, by the PQ index of its weights."""
        kept = self.kept[layer]
        weights = self.layer_weights()[layer].detach().cpu()[kept]
        share = self.gamma * (1 - least_share(weights, self.p, self.q))
        return int(min(share, self.fraction) * len(weights))

    def grow_scores(self, layer: str, shape: torch.Size) -> Tensor:
        """Absolute gradients of the last batch, of `shape`."""
        gradient = self.latest[layer]
        assert gradient is not None
        return gradient.abs()


def pq_index(weights: Tensor, p: float, q: float) -> float:
    """PQ index of some weights, [d] -> in [0, 1); 0 if there is none, or all are zero."""
    sizes = weights.double().abs()
    if not bool(sizes.any()):
        return 0.0
    # Means instead of sums: this is the factor d^(1/q - 1/p).
    low, high = (sizes.pow(k).mean().pow(1 / k) for k in (p, q))
    return 1 - float(low / high)


def least_share(weights: Tensor, p: float, q: float) -> float:
    """Share of the weights that must stay, by the bound of arXiv 2302.05601, in (0, 1]."""
    return float((1 - pq_index(weights, p, q)) ** (p * q / (q - p)))
