"""The budget of a run: the number of samples that it may pass forward and backward."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


class BudgetExceededError(Exception):
    """A run asked for more training samples than remain in its budget."""


@dataclass
class BudgetMeter:
    """Counts the samples that a run uses, and refuses those beyond the budget.

    Parameters
    ----------
    budget
        Number of samples that the run may pass forward and backward; at least one.

    Attributes
    ----------
    phases
        Phase (``training``, ``saliency``) -> samples charged so far.

    Raises
    ------
    ValueError
        If `budget` is less than one.
    """

    budget: int
    phases: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"a budget must hold at least one sample, not {self.budget}")

    @property
    def spent(self) -> int:
        """Samples charged so far."""
        return self.phases.total()

    @property
    def remaining(self) -> int:
        """Samples that may still be used."""
        return self.budget - self.spent

    @property
    def progress(self) -> float:
        """Spent fraction of the budget, in [0, 1]."""
        return self.spent / self.budget

    def charge(self, samples: int, phase: str) -> None:
        """Charge samples to a phase, before they are used.

        Parameters
        ----------
        samples
            Number of samples.
        phase
            ``training`` or ``saliency``.

        Raises
        ------
        BudgetExceededError
            If fewer samples remain. Nothing is charged then.
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
