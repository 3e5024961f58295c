"""STDS: state transition of dendritic spines (Chen et al. 2022, ICML, PMLR 162).

A weight is w = sign(theta) * relu(abs(theta) - d). theta moves by dL/dw everywhere, below the
threshold too, so synapses are pruned and come back as it passes d in either direction. d grows
along half a sine, (1 + sin(pi * (progress / stop - 1/2))) / 2, from 0 to its last value.

Adapted: the authors choose the last d, and a density results. To meet a target, here the share of
pruned weights follows the sine, and d is the quantile of abs(theta) that prunes it. Their d grows
to the end of 2048 epochs; here the shared selection fixes the largest abs(theta) at `stop`, and
the rest of the budget trains them. The step is that of the recipe's optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.hidden_weights import HiddenWeightPruner
from baselines.shared.schedules import cosine
from baselines.shared.selection import Scope


@dataclass
class StateTransition(HiddenWeightPruner):
    """Soft-threshold hidden weights theta; the threshold grows until `stop`.

    With scope ``global`` there is one threshold, with ``layer-wise`` one for each layer.
    """

    info = PrunerInfo(
        name="stds",
        summary="Soft threshold that grows over hidden weights, which may come back above it.",
        paper="Chen et al. 2022, State transition of dendritic spines, ICML",
        granularities=("unstructured",),
        tracks=("from-scratch", "post-training"),
    )

    stop: float = 0.7
    scope: Scope = "global"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope == "erk":
            raise ValueError("scope must be global or layer-wise, not erk")

    def scores(self) -> dict[str, Tensor]:
        """Layer name -> abs(theta)."""
        return {name: theta.abs() for name, theta in self.hidden.items()}

    def visible(self, progress: float) -> dict[str, Tensor]:
        """Weights above the threshold, less the threshold."""
        assert self.context.density is not None
        pruned = (1 - self.context.density) * (1 - cosine(progress, self.stop))
        sizes, visible = self.scores(), {}
        for names in [list(sizes)] if self.scope == "global" else [[name] for name in sizes]:
            d = threshold(torch.cat([sizes[name].flatten() for name in names]), pruned)
            for name in names:
                visible[name] = self.hidden[name].sign() * (sizes[name] - d).relu()
        return visible


def threshold(sizes: Tensor, pruned: float) -> Tensor:
    """Size of the largest weight in the share that is pruned; zero if there is none."""
    number = round(pruned * sizes.numel())
    return sizes.kthvalue(number).values if number else sizes.new_zeros(())
