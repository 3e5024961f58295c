"""When to prune, and how far: functions of the training progress in [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


def cubic_density(progress: float, start: float, stop: float, final: float) -> float:
    """Density of gradual pruning: fast at first, slow near the end.

    1 before `start`, `final` from `stop` on, and between them
    final + (1 - final) * (1 - (progress - start) / (stop - start))^3
    (Zhu and Gupta 2017, arXiv 1710.01878, equation 1, written for density).
    ``start == stop`` is one-shot pruning.
    """
    if progress >= stop:
        return final
    if progress < start:
        return 1.0
    left = 1 - (progress - start) / (stop - start)
    return final + (1 - final) * left**3


def cosine(progress: float, stop: float) -> float:
    """Fall from 1 at progress 0 to 0 from `stop` on, along half a cosine.

    Times a first fraction, it is the share of weights that RigL drops and regrows
    (arXiv 1911.11134, section 3).
    """
    return 0.5 * (1 + math.cos(math.pi * progress / stop)) if progress < stop else 0.0


def check_window(start: float, stop: float, updates: int) -> None:
    """Raise ValueError unless 0 <= start <= stop <= 1 and there is at least one update."""
    if not 0 <= start <= stop <= 1:
        raise ValueError(f"need 0 <= start <= stop <= 1, not start {start}, stop {stop}")
    if updates < 1:
        raise ValueError(f"updates must be at least 1, not {updates}")


@dataclass
class UpdateClock:
    """Says when an update is due: `updates` times in a run, evenly, whatever its length."""

    updates: int
    done: int = field(default=0, init=False)

    def due(self, progress: float) -> bool:
        """Whether progress has passed the next update time; True once for each."""
        due = self.ahead(progress)
        if due:
            self.done = self._reached(progress)
        return due

    def ahead(self, progress: float) -> bool:
        """What `due` would say, without taking note of it."""
        return self._reached(progress) > self.done

    def _reached(self, progress: float) -> int:
        return int(progress * self.updates + 1e-9)
