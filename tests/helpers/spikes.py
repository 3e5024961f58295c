"""Random spikes of units with different rates."""

from __future__ import annotations

import torch
from torch import Tensor


def random_spikes(batch: int, shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Random spikes, [2, B, *shape]; the firing rate rises from 0.02 to 0.9 over the units."""
    rates = torch.linspace(0.02, 0.9, shape[0]).view(-1, *[1] * (len(shape) - 1))
    return (torch.rand(2, batch, *shape, generator=draw) < rates).float()
