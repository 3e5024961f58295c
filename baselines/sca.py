"""SCA: prune channels of small membrane potential, and regrow channels of large gradient.

Li et al. 2024 (spiking channel activity, arXiv 2406.01072) prune the channels of smallest mean
absolute membrane potential. Then they regrow the pruned channels with the largest |dL/d gamma|,
where gamma is the scale of their batch norm.

Adapted: neurons of linear layers count as channels too. Membrane potentials are recomputed in one
training step out of 16. The gradients for regrowth cost `samples` of the budget. The share of
regrown channels falls along a half cosine. The parameters of a pruned unit are stored: with only
scale and shift set to zero they give the gradient for regrowth, and a regrown unit gets all its
stored parameters back.
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

#: Training steps per measurement of the membrane potentials.
INTERVAL = 16


@dataclass
class SCA(GradualPruner):
    """Prune units by membrane potential, and regrow units by the gradient of their scale.

    Parameters
    ----------
    updates
        Number of mask updates per run, as for all gradual methods.
    regrowth
        Share of the density that regrown units get at progress 0, in [0, 1). It falls to zero at
        `stop`.
    samples
        Training samples for the gradients of one update, >= 1; they are charged to the budget.
    """

    info = PrunerInfo(
        name="sca",
        summary="Channels of small membrane potential are pruned; some regrow by gradient.",
        paper="Li et al. 2024, Spiking activity based pruning, arXiv 2406.01072",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
        needs_activity=True,
        needs_spikes=True,
        regrows=True,
        after_abstract=True,
    )

    updates: int = 20
    regrowth: float = 0.2
    samples: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.regrowth < 1 or self.samples < 1:
            raise ValueError("regrowth must be in [0, 1), and samples at least 1")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Store all parameters; no potential is measured yet."""
        super().begin(network, context)
        self.kept, self.seen = Masks(), 0  # masks now, and training steps since the last update
        self.potentials: dict[str, Tensor] = {}  # group name -> sums of mean potentials [units]
        self.values = {name: p.detach().clone() for name, p in network.named_parameters()}

    def observe(self, activity: Activity) -> None:
        """Add the membrane potentials of this batch, in one step out of 16."""
        self.seen += 1
        if self.seen % INTERVAL == 1 and not self.finished:
            means = mean_potentials(self.network, self.context.structure, activity)
            self.potentials = {
                name: mean + self.potentials.get(name, 0) for name, mean in means.items()
            }

    def masks(self, progress: float) -> Masks | None:
        """Prune and regrow, and write the stored parameters into the network.

        The training loop sets the masked entries to zero afterwards.
        """
        self.now = progress
        if not self.potentials:
            return None
        masks = super().masks(progress)
        if masks is not None:
            self.kept, self.seen, self.potentials = masks, 0, {}
            self.network.load_state_dict(self.values, strict=False)
        return masks

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> scores [units].

        Until `stop`, units that pruning keeps have score inf, and the other units are scored for
        regrowth: |dL/d gamma| divided by the mean of the group. The last update only prunes: its
        scores are the membrane potentials, and -inf for units that are pruned already.
        """
        for name, parameter in self.network.named_parameters():
            kept = self.kept.parameters.get(name, torch.tensor(True)).to(parameter.device)
            self.values[name] = torch.where(kept, parameter.detach(), self.values[name])
        potentials = {
            name: sums.masked_fill(~self.alive[name], -torch.inf)
            for name, sums in self.potentials.items()
        }
        share = self.regrowth * cosine(self.now, self.stop)
        if share == 0:
            return potentials
        pruned = self.choose(units=potentials, progress=self.now, share=1 - share)
        gradients = scale_gradients(
            self.probe, self.context.structure, self.values, pruned, self.samples
        )
        return {
            name: score.masked_fill(pruned.units[name], torch.inf)
            for name, score in relative(gradients).items()
        }
