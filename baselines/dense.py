"""No pruning: the reference that every drop is measured from."""

from __future__ import annotations

from dataclasses import dataclass

from baselines.shared.contract import Pruner, PrunerInfo
from baselines.shared.masks import Masks


@dataclass
class Dense(Pruner):
    """Keep every weight."""

    info = PrunerInfo(
        name="dense",
        summary="The unpruned network, trained with the same budget.",
        paper="none: the reference",
        granularities=("none",),
        tracks=("from-scratch", "post-training"),
    )

    def due(self, progress: float) -> bool:
        """Never: nothing ever changes."""
        return False

    def masks(self, progress: float) -> Masks | None:
        """Change nothing."""
        return None
