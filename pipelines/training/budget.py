"""The budget: training samples that pass forward and backward, in every phase of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


class BudgetExceededError(Exception):
    """A run asked for more training samples than its budget holds."""


@dataclass
class BudgetMeter:
    """Charges samples to phases and refuses what the budget does not hold.

    Parameters
    ----------
    budget
        Samples with forward and backward pass that a run may spend; at least one.
    """

    budget: int
    phases: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"a budget holds at least one sample, not {self.budget}")

    @property
    def spent(self) -> int:
        """Samples charged so far."""
        return self.phases.total()

    @property
    def remaining(self) -> int:
        """Samples left."""
        return self.budget - self.spent

    @property
    def progress(self) -> float:
        """Spent part of the budget, in [0, 1]."""
        return self.spent / self.budget

    def charge(self, samples: int, phase: str) -> None:
        """Charge `samples` before they are used.

        Raises
        ------
        BudgetExceededError
            If fewer remain; nothing is charged then.
        ValueError
            If `samples` is negative.
        """
        if samples < 0:
            raise ValueError(f"cannot charge {samples} samples")
        if samples > self.remaining:
            raise BudgetExceededError(
                f"phase '{phase}' asks for {samples} samples, {self.remaining} of "
                f"{self.budget} remain"
            )
        self.phases[phase] += samples
