"""Spiking channel activity: quiet channels go, and those that the loss asks for come back.

Li et al. 2024 (arXiv 2406.01072): prune channels of smallest mean |membrane potential|, then regrow
pruned ones of largest |dL/d gamma|, gamma being their batch norm scale. Adapted: neurons of linear
layers are channels too; potentials are recomputed in one step of sixteen; regrowth costs
`samples`; its share falls along a cosine; a pruned unit's values are kept: with gamma and shift at
0 they give its gradient, and with them it returns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.channel_scores import mean_potentials, scale_gradients
from baselines.shared.contract import Activity, PruneContext, PrunerInfo
from baselines.shared.dependency_graph import relative
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.masks import Masks
from baselines.shared.schedules import cosine


@dataclass
class SCA(GradualPruner):
    """Prune by membrane potential; regrow by gradient on `samples`, at first a share `regrowth`."""

    info = PrunerInfo(
        name="sca",
        summary="Channels of small membrane potential go, and some come back by gradient.",
        paper="Li et al. 2024, Spiking activity based pruning, arXiv 2406.01072",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
        needs_activity=True,
        needs_spikes=True,
        regrows=True,
    )

    updates: int = 20
    regrowth: float = 0.2
    samples: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.regrowth < 1 or self.samples < 1:
            raise ValueError("regrowth must be in [0, 1), and samples at least 1")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Keep all values aside."""
        super().begin(network, context)
        self.kept, self.seen, self.potentials = Masks(), 0, dict[str, Tensor]()
        self.values = {n: p.detach().clone() for n, p in network.named_parameters()}

    def observe(self, activity: Activity) -> None:
        """Add the potentials up."""
        self.seen += 1
        if self.seen % 16 == 1 and not self.finished:
            new = mean_potentials(self.network, self.context.structure, activity)
            self.potentials = {n: v + self.potentials.get(n, 0) for n, v in new.items()}

    def masks(self, progress: float) -> Masks | None:
        """Prune and regrow; the masks are applied to the values that are written here."""
        self.now = progress
        if kept := super().masks(progress) if self.potentials else None:
            self.kept, self.seen, self.potentials = kept, 0, {}
            self.network.load_state_dict(self.values, strict=False)
        return kept

    def unit_scores(self) -> dict[str, Tensor]:
        """Infinite for units that pruning leaves, for others |dL/d gamma| relative to the mean."""
        for name, p in self.network.named_parameters():
            there = self.kept.parameters.get(name, torch.tensor(True)).to(p.device)
            self.values[name] = torch.where(there, p.detach(), self.values[name])
        scores = {n: s.masked_fill(~self.alive[n], -torch.inf) for n, s in self.potentials.items()}
        if (part := self.regrowth * cosine(self.now, self.stop)) == 0:
            return scores
        left = self.choose(units=scores, progress=self.now, share=1 - part)
        new = scale_gradients(self.probe, self.context.structure, self.values, left, self.samples)
        return {n: s.masked_fill(left.units[n], torch.inf) for n, s in relative(new).items()}
