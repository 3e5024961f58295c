"""No pruning: the reference for all accuracy drops."""

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
        """Return False: the masks never change."""
        return False

    def masks(self, progress: float) -> Masks | None:
        """Return None: the masks never change."""
        return None
