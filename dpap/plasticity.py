"""Synaptic plasticity: BCM with its sliding threshold, and the Hebb and STDP rules beside it.

All work on k batches at once, [k, B, N], for a single small batch costs more calls than sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from dpap.presets import Theta
from dpap.traces import running_traces

Rule = Literal["bcm", "hebb", "stdp"]


@dataclass
class SlidingThreshold:
    """Mean trace over all batches since the start, equations (4) and (5).

    Parameters
    ----------
    per
        ``unit``: one threshold per unit, over the batch means. ``slot``: one per unit and place
        in the batch, as the released code keeps it; places count the batches that filled them.
    """

    per: Theta = "unit"
    value: Tensor | None = field(default=None, init=False)
    batches: Tensor | None = field(default=None, init=False)

    def slide(self, post: Tensor) -> Tensor:
        """Take in k batches of post-synaptic traces, one after the other.

        Parameters
        ----------
        post
            [k, B, N].

        Returns
        -------
        Tensor
            The threshold before each batch, [k, 1, N] or [k, B, N]; zero at first.
        """
        seen = post.mean(1, keepdim=True) if self.per == "unit" else post
        value, batches = self._of(seen.shape[1], seen)
        totals = torch.cat([(value * batches)[None], seen]).cumsum(0)
        counts = batches + torch.arange(len(totals), device=post.device).view(-1, 1, 1)
        thresholds = totals / counts.clamp_min(1)
        value.copy_(thresholds[-1])
        batches += len(post)
        return thresholds[:-1]

    def _of(self, slots: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Views on the first `slots` thresholds, [slots, N], and what they count, [slots, 1]."""
        if self.value is None or self.batches is None:
            self.value, self.batches = like.new_zeros(0, like.shape[2]), like.new_zeros(0, 1)
        missing = slots - len(self.value)
        if missing > 0:
            self.value = torch.cat([self.value, like.new_zeros(missing, like.shape[2])])
            self.batches = torch.cat([self.batches, like.new_zeros(missing, 1)])
        return self.value[:slots], self.batches[:slots]


@dataclass(frozen=True)
class Change:
    """Change of the weights in each of k batches, sum_x drive * source, kept as its factors.

    Parameters
    ----------
    drive
        What the outputs contribute, [k, X, N].
    source
        What the inputs contribute, [k, X, P].
    """

    drive: Tensor
    source: Tensor

    def total(self) -> Tensor:
        """Sum over all batches, [N, P]."""
        return self.drive.flatten(0, 1).t() @ self.source.flatten(0, 1)

    def strengths(self) -> Tensor:
        """Sum over the inputs, per batch: [k, N]."""
        return (self.drive.mT @ self.source.sum(2, keepdim=True)).squeeze(2)


def bcm(pre: Tensor, post: Tensor, threshold: Tensor) -> Change:
    """Bienenstock-Cooper-Munro, equation (3), summed over the batch.

    Above its threshold a post-synaptic unit strengthens its active inputs, below it weakens them:
    sum_b post * (post - threshold) * pre.

    Parameters
    ----------
    pre
        Traces of the inputs, [k, B, P].
    post
        Traces of the outputs, [k, B, N].
    threshold
        Sliding threshold, [k, 1, N] or [k, B, N].
    """
    return Change(post * (post - threshold), pre)


def hebb(pre: Tensor, post: Tensor) -> Change:
    """Hebb's rule on traces [k, B, P] and [k, B, N]: sum_b post * pre."""
    return Change(post, pre)


def stdp(pre: Tensor, post: Tensor, tau: float) -> Change:
    """Pair-based STDP with the traces as its windows, summed over steps and batch.

    A spike of the output strengthens inputs that fired before it; a spike of an input weakens
    the outputs that fired before it. Simultaneous spikes do not count, so T = 1 gives zero.

    Parameters
    ----------
    pre, post
        Unit activity, [T, k, B, P] and [T, k, B, N].
    tau
        Decay of the windows per step.
    """
    pre_before = running_traces(pre, tau)[:-1] * tau
    post_before = running_traces(post, tau)[:-1] * tau
    drive = torch.cat([post[1:], -post_before])
    source = torch.cat([pre_before, pre[1:]])
    return Change(drive.transpose(0, 1).flatten(1, 2), source.transpose(0, 1).flatten(1, 2))
