"""Lottery tickets by iterative magnitude pruning with rewinding (arXiv 1803.03635, 1912.05671).

Train, prune the smallest weights, set the rest back to an early iterate, and train again; after n
rounds of equal shares the density is reached. In spiking networks: arXiv 2207.01382.

Adapted: the papers train in full for each of many rounds. Here the last training gets a part of one
budget, the rounds divide the rest, and the recipe's rate schedule and optimizer start anew after
each rewinding. Batch norm and beta are rewound too.
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
    rounds, scope
        How often it prunes and rewinds, and how weights are compared.
    rewind, final
        Progress of the iterate that it rewinds to, 0 being the initialisation (1803.03635), and
        share of the budget for the last training, in (0, 1).
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
        """Take the network; no round is done."""
        super().begin(network, context)
        self.done, self.early = 0, dict[str, Tensor]()

    def restarts(self) -> tuple[float, ...]:
        """End of each round."""
        return tuple((1 - self.final) * k / self.rounds for k in range(1, self.rounds + 1))

    def due(self, progress: float) -> bool:
        """At the iterate to keep, and at the end of each round."""
        return progress >= (self.rewind if not self.early else (*self.restarts(), 2.0)[self.done])

    def masks(self, progress: float) -> Masks | None:
        """Note the early iterate, or prune and go back to it; what was pruned is zero, lowest."""
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
