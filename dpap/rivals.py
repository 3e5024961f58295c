"""Rivals: lateral inhibition, how layers compare, and when a neuron has lost all synapses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.shared.groups import UnitGroup


def inhibited(scores: Tensor, covariance: Tensor) -> Tensor:
    """Lateral inhibition: a unit loses what a stronger unit of its layer says already.

    Parameters
    ----------
    scores
        Scores of the units of a group, [units], at least 0; -inf if pruned.
    covariance
        Covariance of their traces, [units, units].

    Returns
    -------
    Tensor
        scores * (1 - rho^2), [units], where rho^2 is the largest squared correlation of the unit's
        trace with the trace of a unit of higher score. The unit of the highest score keeps it.
    """
    variance = covariance.diagonal()
    correlation = covariance.square() / (variance * variance.unsqueeze(1)).clamp_min(1e-30)
    stronger = scores > scores.unsqueeze(1)  # [unit, rival]
    loss = torch.where(stronger, correlation, torch.zeros(())).amax(1).clamp(0, 1)
    return torch.where(scores.isinf(), scores, scores * (1 - loss))


def comparable(scores: Tensor) -> Tensor:
    """Make the scores of groups comparable by the normalisation of LAMP.

    The square of a score is divided by the sum of the squares that are not smaller (arXiv
    2010.07611, equation 1). So the best unit of each group has 1, and groups whose scores are equal
    keep the same number of units.

    Parameters
    ----------
    scores
        Scores of the units of a group, [units], at least 0; -inf if pruned.

    Returns
    -------
    Tensor
        [units], in [0, 1], in the order of `scores`; -inf if pruned.
    """
    squares, order = scores.double().clamp_min(0).square().sort(stable=True)
    larger = squares.flip(0).cumsum(0).flip(0).clamp_min(torch.finfo(torch.double).tiny)
    shares = torch.empty_like(squares).scatter_(0, order, squares / larger)
    return shares.masked_fill(scores == -torch.inf, -torch.inf)


def wired(group: UnitGroup, synapses: Mapping[str, Tensor]) -> Tensor:
    """Return which neurons of a group have a synapse on both sides, bool [units].

    Parameters
    ----------
    group
        Neurons of linear layers.
    synapses
        Layer name -> kept synapses, bool [outputs, inputs]. A layer without an entry that reads the
        neurons, as the readout does, reads all of them.
    """
    reads = read = torch.zeros(group.size, dtype=torch.bool)
    for cut in group.slices:
        name = cut.parameter.removesuffix(".weight")
        if name in synapses:
            has = synapses[name].any(1 - cut.dim)[cut.index].any(1)
            reads, read = (reads | has, read) if cut.dim == 0 else (reads, read | has)
        elif cut.dim == 1:
            read = torch.ones_like(read)
    return reads & read
