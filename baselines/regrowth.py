"""Dropping and growing connections at an unchanged density, as dynamic sparse training does."""

from __future__ import annotations

import torch
from torch import Tensor


def drop_and_grow(kept: Tensor, number: int, drop: Tensor, grow: Tensor) -> Tensor:
    """Exchange connections of one layer.

    Parameters
    ----------
    kept
        Present connections, bool of the weight's shape.
    number
        How many to exchange; fewer if fewer are present or absent.
    drop
        Scores of the weight's shape; of the present ones the lowest go.
    grow
        Scores of the weight's shape; of those that were absent the highest come.

    Returns
    -------
    Tensor
        Present connections afterwards; as many as before.
    """
    present = kept.flatten().clone()
    number = min(number, int(present.sum()), int((~present).sum()))
    leaving = drop.detach().flatten().double().masked_fill(~present, torch.inf)
    coming = grow.detach().flatten().double().masked_fill(present, -torch.inf)
    present[leaving.topk(number, largest=False).indices] = False
    present[coming.topk(number).indices] = True
    return present.view_as(kept)
