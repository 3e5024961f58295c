"""A figure of one run by which a method is what its name says."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A figure of one run by which a method is what its name says, beside that of its paper.

    Parameters
    ----------
    name
        What is measured, for example ``||W - Z|| / ||W|| at the cut``.
    value
        The figure of the run.
    paper
        What the paper gives or requires, in words.
    least, most
        Outside this range the method is not the one of its paper, and its name is wrong.
    """

    name: str
    value: float
    paper: str
    least: float = -math.inf
    most: float = math.inf

    @property
    def holds(self) -> bool:
        """Whether the figure is in the range."""
        return self.least <= self.value <= self.most
