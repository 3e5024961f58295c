"""Successive halving and the confirmation of its result: arithmetic on scores, without any runs.

Jamieson and Talwalkar 2016, arXiv 1502.07943. A score that is not there yet is None, so both
functions say which scores they need next. The same scores always give the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import stdtrit

#: Score of a setting, by its number, with a seed, by its place; None: not known yet.
Score = Callable[[int, int], float | None]
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rung:
    """One round of the search: some settings, each with the same number of seeds.

    Parameters
    ----------
    seeds
        Number of seeds of each setting.
    means
        Number of the setting -> mean score over the seeds; the best comes first.
    """

    seeds: int
    means: dict[int, float]


@dataclass(frozen=True)
class Halving:
    """How far a search is.

    Parameters
    ----------
    rungs
        The rungs whose scores are known.
    missing
        Setting and place of the seed of each score that the next rung needs; empty at the end.
    """

    rungs: tuple[Rung, ...]
    missing: tuple[tuple[int, int], ...] = ()

    @property
    def best(self) -> int | None:
        """The best setting of the last rung; None if scores are missing."""
        return None if self.missing else next(iter(self.rungs[-1].means))


def halve(settings: int, rungs: Sequence[int], score: Score) -> Halving:
    """Search by successive halving.

    Parameters
    ----------
    settings
        Number of settings.
    rungs
        Numbers of seeds, rising. The better half of the settings, rounded up, goes on to the next
        rung; of equal settings, the earlier one. Scores of earlier rungs count again.
    score
        The scores.

    Returns
    -------
    Halving
        The complete rungs, and the scores that are missing.
    """
    left = list(range(settings))
    done: list[Rung] = []
    for seeds in rungs:
        found = {(one, seed): score(one, seed) for one in left for seed in range(seeds)}
        missing = tuple(pair for pair, value in found.items() if value is None)
        if missing:
            return Halving(tuple(done), missing)
        means = {one: fmean(found[one, seed] or 0.0 for seed in range(seeds)) for one in left}
        left.sort(key=lambda one: -means[one])
        done.append(Rung(seeds, {one: means[one] for one in left}))
        left = sorted(left[: (len(left) + 1) // 2])
    return Halving(tuple(done))


@dataclass(frozen=True)
class Confirmation:
    """The default and the setting that was found, on seeds that the search did not use.

    Parameters
    ----------
    default, found
        Scores, one per seed, in the same order of seeds.
    """

    default: tuple[float, ...]
    found: tuple[float, ...]

    @property
    def gain(self) -> float:
        """Mean of found - default."""
        return fmean(self._differences)

    @property
    def half_width(self) -> float:
        """Half-width of the 95 % interval of `gain`: paired Student t over the seeds."""
        seeds = len(self._differences)
        quantile = float(stdtrit(seeds - 1, (1 + _CONFIDENCE) / 2))
        return quantile * stdev(self._differences) / math.sqrt(seeds)

    @property
    def is_better(self) -> bool:
        """Whether the whole interval is above zero; otherwise the default is kept."""
        return self.gain - self.half_width > 0

    @property
    def _differences(self) -> list[float]:
        return [ours - theirs for ours, theirs in zip(self.found, self.default, strict=True)]
