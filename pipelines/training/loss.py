"""The loss of a workload, for training, evaluation and saliency."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from pipelines.settings.workload import Loss

Reduction = Literal["mean", "sum", "none"]


def loss_of(kind: Loss, scores: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Compute the loss of a batch.

    Parameters
    ----------
    kind
        ``cross-entropy``; or ``mse``, the mean over the classes of the squared difference between
        the scores and the one-hot label.
    scores
        Class scores [B, classes].
    labels
        True classes [B], int64.
    reduction
        How the losses of the samples are reduced: to their ``mean``, to their ``sum``, or not at
        all (``none``).

    Returns
    -------
    Tensor
        A scalar; with ``none``, the loss of each sample, [B].
    """
    if kind == "cross-entropy":
        return functional.cross_entropy(scores, labels, reduction=reduction)
    one_hot = functional.one_hot(labels, scores.shape[1]).to(scores.dtype)
    losses = (scores - one_hot).square().mean(1)
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()
