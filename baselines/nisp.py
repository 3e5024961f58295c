"""NISP: importance propagated from the readout to all units (Yu et al. 2018, arXiv 1711.05908).

The importance of a unit is s_j = sum_i abs(w_ij) * s_i over the units i that read it.
It is computed once for all layers, from the readout backwards. So a unit is important if important
units read it by large weights.

Adapted: the paper ranks the last responses by Inf-FS feature selection; here every class has
importance 1. Weights of a kernel, and of the feature map that a linear layer reads, are summed. A
unit that a shortcut adds to another has the importance of both readers. Importances are divided by
the mean of the group. The paper prunes a trained network once; here pruning is gradual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.dependency_graph import relative
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.groups import Structure
from baselines.shared.selection import Scope


@dataclass
class Nisp(GradualPruner):
    """Score a unit by the importance that its readers pass back to it."""

    info = PrunerInfo(
        name="nisp",
        summary="Gradual pruning by importance that is propagated back from the readout.",
        paper="Yu et al. 2018, NISP, arXiv 1711.05908",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
        aims_at_synops=True,
    )

    scope: Scope = "layer-wise"

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> importances divided by their mean, [units]."""
        weights = {n: p.detach() for n, p in self.network.named_parameters() if p.dim() > 1}
        return relative(importances(self.context.structure, weights))


def importances(structure: Structure, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Propagate importance from the readout to the units of all groups.

    Parameters
    ----------
    structure
        The prunable layers and their groups.
    weights
        Parameter name -> weight, for every layer that reads units, the readout included.

    Returns
    -------
    dict
        Group name -> importances [units].
    """
    total = {g.name: torch.zeros(g.size, dtype=torch.double) for g in structure.groups}
    layers = {layer.weight: layer.name for layer in structure.layers}
    readouts = [name for name in weights if name not in layers]
    # In a residual network a group is read and produced by turns, so layers come in their order.
    for parameter in (*readouts, *reversed(layers)):
        weight = weights[parameter].abs().double().cpu()
        above = torch.ones(len(weight), dtype=torch.double)
        if parameter in layers:
            above = total[structure.group_of(layers[parameter]).name]
        passed = above @ weight.reshape(*weight.shape[:2], -1).sum(2)
        for group in structure.groups:
            for cut in group.slices:
                if cut.parameter == parameter and cut.dim == 1:
                    total[group.name] = total[group.name] + passed[cut.index].sum(1)
    return total
