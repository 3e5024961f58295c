"""The budget: training samples that pass forward and backward, in every phase of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


class BudgetExceededError(Exception):
    """A run asked for more training samples than its budget holds."""


@dataclass(frozen=True)
class Budget:
    """What a run may spend.

    Parameters
    ----------
    samples
        Samples with forward and backward pass.
    """

    samples: int

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"a budget holds at least one sample, not {self.samples}")


@dataclass
class BudgetMeter:
    """Charges samples to phases and refuses what the budget does not hold."""

    budget: Budget
    phases: Counter[str] = field(default_factory=Counter, init=False)

    @property
    def spent(self) -> int:
        """Samples charged so far."""
        return self.phases.total()

    @property
    def remaining(self) -> int:
        """Samples left."""
        return self.budget.samples - self.spent

    @property
    def progress(self) -> float:
        """Spent part of the budget, in [0, 1]."""
        return self.spent / self.budget.samples

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
                f"{self.budget.samples} remain"
            )
        self.phases[phase] += samples
