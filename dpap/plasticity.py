"""Synaptic plasticity: BCM with its sliding threshold, and the Hebb and STDP rules beside it."""

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
    batches: list[int] = field(default_factory=list, init=False)

    def current(self, post: Tensor) -> Tensor:
        """Threshold before this batch of traces `post` [B, N]: [1, N] or [B, N], zero at first."""
        slots = 1 if self.per == "unit" else len(post)
        missing = slots - len(self.batches)
        if missing > 0:
            fresh = post.new_zeros(missing, post.shape[1])
            self.value = fresh if self.value is None else torch.cat([self.value, fresh])
            self.batches += [0] * missing
        assert self.value is not None
        return self.value if missing == 0 else self.value[:slots]

    def update(self, post: Tensor) -> None:
        """Take in one batch of post-synaptic traces, [B, N]."""
        before = self.current(post)
        seen = post.mean(0, keepdim=True) if self.per == "unit" else post
        count = [n + 1 for n in self.batches[: len(before)]]
        self.batches[: len(before)] = count
        same = count[0] == count[-1]  # a smaller batch fills the first places only
        before += (seen - before) / (count[0] if same else post.new_tensor(count)[:, None])


def bcm(pre: Tensor, post: Tensor, threshold: Tensor) -> Tensor:
    """Bienenstock-Cooper-Munro change of one batch, equation (3), summed over the batch.

    Above its threshold a post-synaptic unit strengthens its active inputs, below it weakens them.

    Parameters
    ----------
    pre
        Traces of the inputs, [B, P].
    post
        Traces of the outputs, [B, N].
    threshold
        Sliding threshold, [1, N] or [B, N].

    Returns
    -------
    Tensor
        sum_b post * (post - threshold) * pre, [N, P].
    """
    return (post * (post - threshold)).t() @ pre


def hebb(pre: Tensor, post: Tensor) -> Tensor:
    """Hebb's rule on traces [B, P] and [B, N]: sum_b post * pre, [N, P]."""
    return post.t() @ pre


def stdp(pre: Tensor, post: Tensor, tau: float) -> Tensor:
    """Pair-based STDP with the traces as its windows, summed over steps and batch.

    A spike of the output strengthens inputs that fired before it; a spike of an input weakens
    the outputs that fired before it. Simultaneous spikes do not count, so T = 1 gives zero.

    Parameters
    ----------
    pre, post
        Unit activity, [T, B, P] and [T, B, N].
    tau
        Decay of the windows per step.

    Returns
    -------
    Tensor
        [N, P].
    """
    pre_before = running_traces(pre, tau)[:-1] * tau
    post_before = running_traces(post, tau)[:-1] * tau
    potentiation = torch.einsum("tbn,tbp->np", post[1:], pre_before)
    depression = torch.einsum("tbn,tbp->np", post_before, pre[1:])
    return potentiation - depression
