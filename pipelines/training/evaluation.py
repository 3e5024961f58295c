"""Evaluation: on validation during a run, and once, at its end, on the test split."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipelines.data import load_test
from pipelines.data.events import binning_of
from pipelines.data.splits import Samples
from pipelines.networks.network import Network
from pipelines.settings.workload import Loss, Workload
from pipelines.training.cost import ActivityCounter
from pipelines.training.loss import loss_of

#: Classes up to which a record keeps the confusion matrix; ImageNet's is a million numbers.
CONFUSED = 20
#: Samples of a batch, and numbers in it at one step, at most.
_BATCH, _NUMBERS = 512, 2**24


@dataclass(frozen=True)
class Evaluation:
    """Result on one split.

    Parameters
    ----------
    accuracy
        Right / all, in [0, 1].
    loss
        Mean over the samples.
    activity
        Counted inputs and spikes of every layer.
    confusion
        Samples by true class (row) and answer (column).
    """

    accuracy: float
    loss: float
    activity: ActivityCounter
    confusion: Tensor


@torch.no_grad()
def evaluate(network: Network, split: Samples, kind: Loss = "cross-entropy") -> Evaluation:
    """Run a split through the network in evaluation mode; the mode is restored."""
    training = network.training
    network.eval()
    counter = ActivityCounter(network.steps)
    classes, loss = network.classes, 0.0
    confusion = torch.zeros(classes**2, dtype=torch.long)
    size = min(_BATCH, max(1, _NUMBERS // math.prod(split.shape)))
    cuts = [slice(start, start + size) for start in range(0, len(split), size)]
    for inputs, labels in split.batches(cuts):
        scores, activity = network.run(inputs)
        counter.add(activity)
        places = labels * classes + scores.argmax(1)
        confusion += torch.bincount(places.cpu(), minlength=classes**2)
        loss += float(loss_of(kind, scores, labels, "sum"))
    network.train(training)
    confusion = confusion.view(classes, classes)
    right = int(confusion.trace())
    return Evaluation(right / len(split), loss / len(split), counter, confusion)


def evaluate_test(network: Network, workload: Workload, root: Path) -> Evaluation:
    """Open the test split of a workload; a run calls this once, on its last iterate."""
    split = load_test(workload.data, root, binning_of(workload), workload.normalization)
    return evaluate(network, split.to(network.readout.weight.device), workload.recipe.loss)


def confusion_of(test: Evaluation | None) -> list[list[int]] | None:
    """Confusion matrix of the test split as a record keeps it; None for very many classes."""
    if test is None or len(test.confusion) > CONFUSED:
        return None
    rows: list[list[int]] = test.confusion.tolist()
    return rows
