"""The loss of a workload: of a training step, of an evaluation, and of saliency."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from pipelines.settings.workload import Loss

Reduction = Literal["mean", "sum", "none"]


def loss_of(kind: Loss, scores: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Loss of a batch.

    Parameters
    ----------
    kind
        ``cross-entropy``, or ``mse``: of a sample, the mean over the classes of the squared
        distance to 1 for its class and to 0 for others.
    scores
        [B, classes].
    labels
        [B].
    reduction
        Over the samples; with ``none`` the loss has shape [B].
    """
    if kind == "cross-entropy":
        return functional.cross_entropy(scores, labels, reduction=reduction)
    wanted = functional.one_hot(labels, scores.shape[1]).to(scores.dtype)
    each = (scores - wanted).square().mean(1)
    if reduction == "none":
        return each
    return each.mean() if reduction == "mean" else each.sum()
