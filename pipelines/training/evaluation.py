"""Evaluation of a network on a split: accuracy, loss, activity and confusion matrix."""

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
from pipelines.records.correct import correct_text
from pipelines.settings.workload import Loss, Workload
from pipelines.training.cost import ActivityCounter
from pipelines.training.loss import loss_of

#: Largest number of classes for which a record keeps the confusion matrix. That of ImageNet would
#: have a million numbers.
MAX_CONFUSION_CLASSES = 20
#: Largest number of test samples for which a record keeps which of them were right.
MAX_CORRECT_SAMPLES = 20_000
#: Limits of a batch: its samples, and the numbers in its inputs at one time step.
_MAX_SAMPLES, _MAX_NUMBERS = 512, 2**24


@dataclass(frozen=True)
class Evaluation:
    """Result of a network on one split.

    Parameters
    ----------
    accuracy
        Correct answers / samples, in [0, 1].
    loss
        Mean loss over the samples.
    activity
        Counts of the active inputs and outputs of every layer.
    confusion
        Confusion matrix [classes, classes]: number of samples by true class (row) and predicted
        class (column).
    correct
        Whether each sample was classified correctly, in the order of the split: bool [samples].
    """

    accuracy: float
    loss: float
    activity: ActivityCounter
    confusion: Tensor
    correct: Tensor


@torch.no_grad()
def evaluate(network: Network, split: Samples, kind: Loss = "cross-entropy") -> Evaluation:
    """Evaluate a network on a split, in evaluation mode; the network's mode is restored.

    Parameters
    ----------
    network
        The network.
    split
        The samples.
    kind
        The loss to compute.
    """
    training = network.training
    network.eval()
    counter = ActivityCounter(network.steps, network)
    classes, loss = network.classes, 0.0
    correct: list[Tensor] = []
    confusion = torch.zeros(classes**2, dtype=torch.long)
    size = min(_MAX_SAMPLES, max(1, _MAX_NUMBERS // math.prod(split.shape)))
    cuts = [slice(start, start + size) for start in range(0, len(split), size)]
    for inputs, labels in split.batches(cuts):
        scores, activity = network.run(inputs)
        counter.add(activity)
        predicted = scores.argmax(1)
        correct.append((predicted == labels).cpu())
        cells = labels * classes + predicted  # in the flattened matrix
        confusion += torch.bincount(cells.cpu(), minlength=classes**2)
        loss += float(loss_of(kind, scores, labels, "sum"))
    network.train(training)
    confusion = confusion.view(classes, classes)
    accuracy = int(confusion.trace()) / len(split)
    return Evaluation(accuracy, loss / len(split), counter, confusion, torch.cat(correct))


def evaluate_test(network: Network, workload: Workload, root: Path) -> Evaluation:
    """Evaluate a network on the test split of its workload.

    A run calls this once, after the last training step.

    Parameters
    ----------
    network
        The network.
    workload
        The workload, which names the data set and the loss.
    root
        The folder of the data sets.
    """
    split = load_test(workload.data, root, binning_of(workload), workload.normalization)
    return evaluate(network, split.to(network.readout.weight.device), workload.recipe.loss)


def confusion_of(test: Evaluation | None) -> list[list[int]] | None:
    """Return the confusion matrix of the test split as a record keeps it.

    Returns
    -------
    list or None
        None without a test evaluation, and for more than `MAX_CONFUSION_CLASSES` classes.
    """
    if test is None or len(test.confusion) > MAX_CONFUSION_CLASSES:
        return None
    rows: list[list[int]] = test.confusion.tolist()
    return rows


def correct_of(test: Evaluation | None) -> str | None:
    """Return which test samples were right, as a record keeps it; see `Outcome.correct`.

    Returns
    -------
    str or None
        None without a test evaluation, and for more than `MAX_CORRECT_SAMPLES` samples.
    """
    if test is None or len(test.correct) > MAX_CORRECT_SAMPLES:
        return None
    return correct_text(test.correct.numpy())
