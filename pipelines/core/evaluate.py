"""Evaluation: on validation during a run, and once, at its end, on the test split."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from pipelines.core.cost import ActivityCounter
from pipelines.core.data import load_test
from pipelines.core.data.splits import Samples
from pipelines.core.losses import loss_of
from pipelines.core.networks import Network
from pipelines.core.workloads import Loss, Workload

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
    """

    accuracy: float
    loss: float
    activity: ActivityCounter


@torch.no_grad()
def evaluate(network: Network, split: Samples, kind: Loss = "cross-entropy") -> Evaluation:
    """Run a split through the network in evaluation mode; the mode is restored."""
    training = network.training
    network.eval()
    counter = ActivityCounter(network.steps)
    right, loss = 0, 0.0
    size = min(_BATCH, max(1, _NUMBERS // math.prod(split.shape)))
    cuts = [slice(start, start + size) for start in range(0, len(split), size)]
    for inputs, labels in split.batches(cuts):
        scores, activity = network.run(inputs)
        counter.add(activity)
        right += int((scores.argmax(1) == labels).sum())
        loss += float(loss_of(kind, scores, labels, "sum"))
    network.train(training)
    return Evaluation(right / len(split), loss / len(split), counter)


def evaluate_test(network: Network, workload: Workload, root: Path) -> Evaluation:
    """Open the test split of a workload; a run calls this once, on its last iterate."""
    split = load_test(workload.data, root, workload.binning, workload.normalization)
    return evaluate(network, split.to(network.readout.weight.device), workload.recipe.loss)
