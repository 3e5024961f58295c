"""STDS: state transition of dendritic spines (Chen et al. 2022, ICML, PMLR 162).

A weight is w = sign(theta) * relu(abs(theta) - d): a soft threshold d on hidden weights theta.
theta moves by dL/dw everywhere, also below the threshold. So a synapse is pruned when abs(theta)
falls below d, and comes back when it rises above d. d grows from 0 to its final value along half a
sine, (1 + sin(pi * (progress / stop - 1/2))) / 2.

Adapted: the authors choose the final d, which determines the density. To meet a target density,
here the share of pruned weights follows the sine, and d is the quantile of abs(theta) that prunes
this share. Their d grows to the end of 2048 epochs. Here the connections with the largest
abs(theta) are fixed at `stop`, and the rest of the budget trains them. The recipe's optimizer makes
the gradient step.
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
    """Apply a soft threshold to hidden weights theta; the threshold grows until `stop`.

    Parameters
    ----------
    stop
        Progress at which the connections are fixed, in (0, 1].
    scope
        ``global``: one threshold for all layers. ``layer-wise``: one threshold per layer.
    """

    info = PrunerInfo(
        name="stds",
        summary="A growing soft threshold on hidden weights, which may come back above it.",
        paper="Chen et al. 2022, State transition of dendritic spines, ICML",
        granularities=("unstructured",),
        tracks=("from-scratch", "post-training"),
    )

    stop: float = 0.7
    scope: Scope = "global"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope not in ("global", "layer-wise"):
            raise ValueError(f"scope must be global or layer-wise, not {self.scope}")

    def scores(self) -> dict[str, Tensor]:
        """Layer name -> abs(theta), of the weight's shape."""
        return {name: theta.abs() for name, theta in self.hidden.items()}

    def visible(self, progress: float) -> dict[str, Tensor]:
        """Layer name -> soft-thresholded weights."""
        assert self.context.density is not None
        pruned = (1 - self.context.density) * (1 - cosine(progress, self.stop))
        sizes, visible = self.scores(), {}
        names = list(sizes)
        sets = [names] if self.scope == "global" else [[name] for name in names]
        for layers in sets:  # layers that share a threshold
            d = threshold(torch.cat([sizes[name].flatten() for name in layers]), pruned)
            for name in layers:
                visible[name] = self.hidden[name].sign() * (sizes[name] - d).relu()
        return visible


def threshold(sizes: Tensor, pruned: float) -> Tensor:
    """Find the threshold that prunes a share of weights.

    Parameters
    ----------
    sizes
        abs(theta), [weights].
    pruned
        Share of the weights to prune, in [0, 1].

    Returns
    -------
    Tensor
        The largest abs(theta) among the pruned weights; zero if none is pruned. A scalar.
    """
    number = round(pruned * sizes.numel())
    return sizes.kthvalue(number).values if number else sizes.new_zeros(())
