"""Synaptic plasticity: the BCM rule with its sliding threshold."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class SlidingThreshold:
    """Mean trace of each unit over all batches since the start, equations (4) and (5)."""

    batches: int = field(default=0, init=False)
    value: Tensor | None = field(default=None, init=False)

    def current(self, post: Tensor) -> Tensor:
        """Threshold before this batch, [N]; zero before the first. `post` is [B, N]."""
        return torch.zeros_like(post[0]) if self.value is None else self.value

    def update(self, post: Tensor) -> None:
        """Take in the batch mean of the post-synaptic traces `post`, [B, N]."""
        before = self.current(post)
        self.batches += 1
        self.value = before + (post.mean(0) - before) / self.batches


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
        Sliding threshold, [N].

    Returns
    -------
    Tensor
        sum_b post * (post - threshold) * pre, [N, P].
    """
    return (post * (post - threshold)).t() @ pre
