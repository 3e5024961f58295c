"""Synaptic plasticity: the BCM rule with its sliding threshold, and the Hebb and STDP rules.

All rules work on k batches at once, [k, B, N]: for a single small batch, the overhead of the
function calls would cost more than the sums.
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
    """Mean post-synaptic trace over all batches since the start, equations (4) and (5).

    Parameters
    ----------
    per
        ``unit``: one threshold per unit, the mean of the batch means. ``slot``: one threshold per
        unit and position in the batch, as in the released code. The threshold of a position is the
        mean over the batches that were large enough to have this position.
    """

    per: Theta = "unit"
    value: Tensor | None = field(default=None, init=False)  # [1 or B, N]
    batches: Tensor | None = field(default=None, init=False)  # number of batches, [1 or B, 1]

    def slide(self, post: Tensor) -> Tensor:
        """Include k batches, one after the other.

        Parameters
        ----------
        post
            Post-synaptic traces, [k, B, N].

        Returns
        -------
        Tensor
            The threshold before each batch, [k, 1, N] or [k, B, N]. It is zero before the first
            batch.
        """
        seen = post.mean(1, keepdim=True) if self.per == "unit" else post
        value, batches = self._views(seen.shape[1], seen)
        totals = torch.cat([(value * batches)[None], seen]).cumsum(0)
        counts = batches + torch.arange(len(totals), device=post.device).view(-1, 1, 1)
        thresholds = totals / counts.clamp_min(1)
        value.copy_(thresholds[-1])
        batches += len(post)
        return thresholds[:-1]

    def _views(self, slots: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return views of the first `slots` rows of `value` and `batches`; add missing rows."""
        if self.value is None or self.batches is None:
            self.value, self.batches = like.new_zeros(0, like.shape[2]), like.new_zeros(0, 1)
        missing = slots - len(self.value)
        if missing > 0:
            self.value = torch.cat([self.value, like.new_zeros(missing, like.shape[2])])
            self.batches = torch.cat([self.batches, like.new_zeros(missing, 1)])
        return self.value[:slots], self.batches[:slots]


@dataclass(frozen=True)
class Change:
    """Change of the weights in each of k batches, stored as two factors.

    The change in batch k is sum_x drive[k, x, n] * source[k, x, p], [N, P]. The index x runs over
    samples, or over samples and time steps.

    Parameters
    ----------
    drive
        Factor of the output units, [k, X, N].
    source
        Factor of the input units, [k, X, P].
    """

    drive: Tensor
    source: Tensor

    def total(self) -> Tensor:
        """Change of each weight, summed over all batches, [N, P]."""
        return self.drive.flatten(0, 1).t() @ self.source.flatten(0, 1)

    def strengths(self) -> Tensor:
        """Change of each batch, summed over the input units, [k, N]."""
        return (self.drive.mT @ self.source.sum(2, keepdim=True)).squeeze(2)


def bcm(pre: Tensor, post: Tensor, threshold: Tensor) -> Change:
    """Bienenstock-Cooper-Munro (BCM) rule, equation (3), summed over the batch.

    The change is sum_b post * (post - threshold) * pre. A post-synaptic unit strengthens its active
    inputs if its trace is above its threshold, and weakens them if it is below.

    Parameters
    ----------
    pre
        Traces of the input units, [k, B, P].
    post
        Traces of the output units, [k, B, N].
    threshold
        Sliding threshold, [k, 1, N] or [k, B, N].
    """
    return Change(post * (post - threshold), pre)


def hebb(pre: Tensor, post: Tensor) -> Change:
    """Hebb's rule, sum_b post * pre, on traces [k, B, P] and [k, B, N]."""
    return Change(post, pre)


def stdp(pre: Tensor, post: Tensor, tau: float) -> Change:
    """Pair-based STDP with traces as its windows, summed over time steps and batch.

    A spike of an output unit strengthens the weights from inputs that spiked before it. A spike of
    an input unit weakens the weights to outputs that spiked before it. Simultaneous spikes do not
    count, so T = 1 gives zero.

    Parameters
    ----------
    pre, post
        Activity of the input and output units, [T, k, B, P] and [T, k, B, N].
    tau
        Decay of the windows per time step, in [0, 1].
    """
    pre_before = running_traces(pre, tau)[:-1] * tau
    post_before = running_traces(post, tau)[:-1] * tau
    drive = torch.cat([post[1:], -post_before])
    source = torch.cat([pre_before, pre[1:]])
    return Change(drive.transpose(0, 1).flatten(1, 2), source.transpose(0, 1).flatten(1, 2))
