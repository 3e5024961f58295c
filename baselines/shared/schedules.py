"""Pruning schedules: functions of the training progress, which runs from 0 to 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


def cubic_density(progress: float, start: float, stop: float, final: float) -> float:
    """Density under the cubic schedule, which prunes fast at first and slowly near the end.

    The density is 1 before `start` and `final` from `stop` on. Between them it is
    final + (1 - final) * (1 - (progress - start) / (stop - start))^3
    (Zhu and Gupta 2017, arXiv 1710.01878, equation 1, written for density instead of sparsity).
    ``start == stop`` is one-shot pruning.

    Parameters
    ----------
    progress
        Share of the training budget that is spent, in [0, 1].
    start, stop
        Progress at which pruning starts, and at which `final` is reached.
    final
        Target density, in (0, 1].

    Returns
    -------
    float
        Density, in [final, 1].
    """
    if progress >= stop:
        return final
    if progress < start:
        return 1.0
    left = 1 - (progress - start) / (stop - start)
    return final + (1 - final) * left**3


def cosine(progress: float, stop: float) -> float:
    """Half a cosine: 1 at progress 0, falling to 0 at `stop`, and 0 afterwards.

    RigL multiplies it by its initial fraction of exchanged weights
    (arXiv 1911.11134, section 3).
    """
    return 0.5 * (1 + math.cos(math.pi * progress / stop)) if progress < stop else 0.0


def check_window(start: float, stop: float, updates: int) -> None:
    """Check the settings of a schedule.

    Raises
    ------
    ValueError
        Unless 0 <= start <= stop <= 1 and updates >= 1.
    """
    if not 0 <= start <= stop <= 1:
        raise ValueError(f"need 0 <= start <= stop <= 1, not start {start}, stop {stop}")
    if updates < 1:
        raise ValueError(f"updates must be at least 1, not {updates}")


@dataclass
class UpdateClock:
    """Clock of the mask updates: `updates` per run, evenly spread, for runs of any length.

    Parameters
    ----------
    updates
        Number of updates in a run.
    """

    updates: int
    done: int = field(default=0, init=False)

    def due(self, progress: float) -> bool:
        """Whether an update is due; if so, mark it as done."""
        due = self.ahead(progress)
        if due:
            self.done = self._reached(progress)
        return due

    def ahead(self, progress: float) -> bool:
        """Whether an update is due; the clock does not change."""
        return self._reached(progress) > self.done

    def _reached(self, progress: float) -> int:
        return int(progress * self.updates + 1e-9)
