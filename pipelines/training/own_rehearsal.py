"""Rehearsal of a method on a copy of a network that a factory builds, before training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from baselines.shared.contract import PruneContext, Pruner
from dpap.attachment.admission import rehearse
from dpap.attachment.copies import copy_of
from dpap.attachment.probe import LoopProbe
from dpap.attachment.proof import quiet
from pipelines.common.errors import InputError
from pipelines.data.splits import Samples
from pipelines.networks.initial import build_structure
from pipelines.networks.own import OwnNetwork
from pipelines.training.budget import BudgetMeter
from pipelines.training.own_probe import OwnProbe

#: Samples of the batch, and of all passes of a method.
_BATCH, _BUDGET = 4, 10**9


def rehearse_method(
    network: OwnNetwork, pruner: Pruner, context: PruneContext, train: Samples
) -> None:
    """Refuse a method that cannot prune a network, before anything is trained.

    Parameters
    ----------
    network
        The network; it does not change.
    pruner
        The method; it does not change.
    context
        Of the run.
    train
        The training split, for saliencies.

    Raises
    ------
    InputError
        If the method fails, or returns masks that do not fit.
    """
    if context.granularity == "none":
        return
    copy = copy_of(network)
    structure = build_structure(copy, context.granularity)
    draw = torch.Generator().manual_seed(0)
    probe = _OneBatch(copy, train, _BATCH, BudgetMeter(_BUDGET), draw)
    density = 0.5 if context.synops is not None else context.density
    try:
        with quiet(copy):
            rehearse(
                pruner,
                copy,
                structure,
                context.granularity,
                density,
                context.steps,
                cast(LoopProbe, probe),
                probe.example(),
            )
    except ValueError as error:
        raise InputError(f"{error}.") from error


class _OneBatch(OwnProbe):
    """A probe that gives one small batch, however many samples a method asks for."""

    def batches(self, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
        return super().batches(min(samples, self.batch_size))
