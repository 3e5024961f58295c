"""The guard of the budget: samples that a method passes through its network are charged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import nn

from pipelines.training.budget import BudgetMeter

#: Whether the passes of this block are charged already.
_paid = ContextVar("paid", default=False)


@contextmanager
def paid() -> Iterator[None]:
    """Charge no samples in this block: the probe has charged them."""
    token = _paid.set(True)
    try:
        yield
    finally:
        _paid.reset(token)


@contextmanager
def charged(network: nn.Module, meter: BudgetMeter) -> Iterator[None]:
    """Charge samples that pass `network`, or a copy made in the block, with gradients.

    Code of a method runs in such blocks. It passes samples by its probe, which charges them by
    itself; passes of the network would train outside of the budget.

    Parameters
    ----------
    network
        The network that the method has.
    meter
        The budget of the run.
    """
    handle = network.register_forward_pre_hook(_hook(meter))
    try:
        yield
    finally:
        handle.remove()


def _hook(meter: BudgetMeter) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
    def charge(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if torch.is_grad_enabled() and not _paid.get():
            meter.charge(len(inputs[0]), "saliency")

    return charge
