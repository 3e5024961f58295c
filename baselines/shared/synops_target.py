"""The target of a run that is a number of SynOps: the density that meets it is searched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

import torch

from baselines.shared.masks import Masks

#: The density is searched again when this part of the budget has passed, and at the last update.
INTERVAL = 0.025
#: A search ends when the SynOps are this near to the target, as a share of it,
PRECISION = 0.01
#: or after this many trials. Whole units are coarse, so the nearest trial may be farther away.
TRIALS = 6
#: Before the last update, the search aims above the target by this share of it, because what is
#: pruned too early may not come back, and firing rates fall a little as training goes on.
MARGIN = 0.05
#: Smallest density that is tried.
LEAST = 0.001


@dataclass
class SynopsTarget:
    """Target SynOps of a run, in the place of a target density.

    Parameters
    ----------
    synops
        Target, SynOps per sample.
    measure
        Masks -> SynOps per sample of the network under these masks, with its present weights.

    Attributes
    ----------
    density
        The density that the last search found, in (0, 1].
    """

    synops: float
    measure: Callable[[Masks], float]
    density: float = field(default=1.0, init=False)
    searched: float = field(default=-1.0, init=False)  # progress of the last search

    def at(
        self,
        progress: float,
        select: Callable[[float], Masks],
        generator: torch.Generator,
        *,
        last: bool,
    ) -> float:
        """Return the density at which a selection has the target SynOps.

        Parameters
        ----------
        progress
            Share of the budget that is spent. Shortly after a search its result is returned again.
        select
            Density in (0, 1] -> masks; it changes no state but that of `generator`.
        generator
            Breaks ties in `select`. All trials see the same state of it, which is restored.
        last
            Whether this is the last update, which may also end below the target, where that is
            nearer. The others stay above it.
        """
        if last or progress - self.searched >= INTERVAL:
            self.searched = progress
            state = generator.get_state()

            def synops(density: float) -> float:
                generator.set_state(state)
                return self.measure(select(density))

            self.density = self._search(synops, last)
            generator.set_state(state)
        return self.density

    def state_dict(self) -> dict[str, float]:
        """Return what a run must store so that it can go on after an interruption."""
        return {"density": self.density, "searched": self.searched}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take over what `state_dict` returned."""
        self.density, self.searched = state["density"], state["searched"]

    def _search(self, synops: Callable[[float], float], last: bool) -> float:
        """Search by trials, from the density of the last search on.

        SynOps are nearly proportional to the density. So the next trial is the density times
        (goal / SynOps)^k, where k is 1 and doubles with each trial on the same side of the goal.
        After the first change of side it is the middle of the two sides, in the logarithm.
        """
        goal = self.synops if last else (1 + MARGIN) * self.synops
        low, high, trial, k = 0.0, inf, self.density, 1
        best, least = self.density, inf
        for _ in range(TRIALS):
            ratio = synops(trial) / goal
            error = abs(ratio - 1)
            if error < least and (last or ratio >= 1 - PRECISION):
                best, least = trial, error
            if error <= PRECISION or (trial == 1.0 and ratio < 1):
                break
            low, high = (low, trial) if ratio > 1 else (trial, high)
            if low > 0 and high < inf:
                trial = (low * high) ** 0.5
            else:
                trial = min(max(trial * max(ratio, LEAST) ** -k, LEAST), 1.0)
            k *= 2
        return best
