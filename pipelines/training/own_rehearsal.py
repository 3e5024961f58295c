"""Rehearsal of a method on a copy of a network that a factory builds, before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

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


def require_whole_state(
    make: Callable[[], nn.Module], inputs: Tensor, generator: torch.Generator
) -> None:
    """Refuse a network that keeps something from one batch to the next outside of its state dict.

    A run that is interrupted goes on from the state dict, so it would end otherwise.

    Parameters
    ----------
    make
        Builds the network anew.
    inputs
        A batch of the training split.
    generator
        The one that modules draw from, such as dropout; its state is as before in the end.

    Raises
    ------
    InputError
        If a network with the same state dict gives other outputs.
    """
    before = generator.get_state()
    used, fresh = make().train(), make().train()
    outputs = []
    with torch.no_grad():
        used(inputs)
        fresh.load_state_dict(used.state_dict())
        for network in (used, fresh):
            generator.set_state(before)
            outputs.append(network(inputs))
    generator.set_state(before)
    if not torch.equal(*outputs):
        raise InputError(
            "the network keeps something from one batch to the next outside of its state_dict(), "
            "so its runs could not go on after an interruption; reset it in forward(), or keep it "
            "in a buffer: self.register_buffer(NAME, TENSOR)."
        )


class _OneBatch(OwnProbe):
    """A probe that gives one small batch, however many samples a method asks for."""

    def batches(self, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
        return super().batches(min(samples, self.batch_size))
