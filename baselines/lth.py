"""Lottery tickets: iterative magnitude pruning with rewinding (arXiv 1803.03635, 1912.05671).

Train, prune the smallest weights, rewind the remaining weights to an early iterate, and train
again. Each of n rounds keeps the same share, so that the target density is reached after round n.
Kim et al. (arXiv 2207.01382) do this in spiking networks.

Adapted: the papers train to the end in each of many rounds. Here all rounds share one budget: the
last training gets a part of it, and the rounds divide the rest equally. The learning-rate schedule
and the optimizer restart after each rewinding. Batch norm and beta are rewound too.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from baselines.shared.contract import PruneContext, Pruner, PrunerInfo
from baselines.shared.masks import Masks
from baselines.shared.selection import Scope, select


@dataclass
class LotteryTicket(Pruner):
    """Iterative magnitude pruning with rewinding.

    Parameters
    ----------
    rounds
        Number of rounds, >= 1; each ends with pruning and rewinding.
    rewind
        Progress of the iterate to rewind to, in [0, end of the first round). 0 is the
        initialisation, as in arXiv 1803.03635.
    final
        Share of the budget for the training after the last round, in (0, 1).
    scope
        How weights are compared, as for `select`.
    """

    info = PrunerInfo(
        name="lth",
        summary="Lottery ticket: prune the smallest weights, rewind to an early iterate, retrain.",
        paper="Frankle and Carbin 2019, arXiv 1803.03635; Frankle et al. 2020, arXiv 1912.05671",
        granularities=("unstructured",),
    )

    rounds: int = 3
    rewind: float = 0.02
    final: float = 0.4
    scope: Scope = "global"

    def __post_init__(self) -> None:
        if self.rounds < 1 or not 0 < self.final < 1:
            raise ValueError(f"need rounds >= 1, 0 < final < 1, not {self.rounds}, {self.final}")
        if not 0 <= self.rewind < (1 - self.final) / self.rounds:
            raise ValueError(f"rewind must be in [0, end of the first round), not {self.rewind}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start before the first round, without a stored iterate."""
        super().begin(network, context)
        self.done = 0  # rounds
        self.early: dict[str, Tensor] = {}  # state dict of the early iterate

    def restarts(self) -> tuple[float, ...]:
        """Progress at the end of each round."""
        return tuple((1 - self.final) * k / self.rounds for k in range(1, self.rounds + 1))

    def due(self, progress: float) -> bool:
        """Whether the early iterate is to be stored, or a round ends."""
        if not self.early:
            return progress >= self.rewind
        return self.done < self.rounds and progress >= self.restarts()[self.done]

    def masks(self, progress: float) -> Masks | None:
        """Store the early iterate; at the end of each round, prune and rewind to it.

        Weights that an earlier round pruned are zero, so they have the lowest scores again.
        """
        if not self.due(progress):
            return None
        if not self.early:
            self.early = {k: v.clone() for k, v in self.network.state_dict().items()}
            return None
        structure, target = self.context.structure, self.context.density
        assert target is not None
        self.done += 1
        density = target ** (self.done / self.rounds)
        scores = {name: w.detach().abs() for name, w in self.layer_weights().items()}
        masks = select(structure, density, self.context.generator, weights=scores, scope=self.scope)
        self.network.load_state_dict(self.early)
        return masks
