"""Evaluation: on validation during a run, and once, at its end, on the test split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

from pipelines.core.cost import ActivityCounter
from pipelines.core.data import load_test
from pipelines.core.data.splits import Split
from pipelines.core.networks import Network
from pipelines.core.workloads import Workload

_BATCH = 512


@dataclass(frozen=True)
class Evaluation:
    """Result on one split.

    Parameters
    ----------
    accuracy
        Right / all, in [0, 1].
    loss
        Mean cross-entropy.
    activity
        Counted inputs and spikes of every layer.
    """

    accuracy: float
    loss: float
    activity: ActivityCounter


@torch.no_grad()
def evaluate(network: Network, split: Split) -> Evaluation:
    """Run a split through the network in evaluation mode; the mode is restored."""
    training = network.training
    network.eval()
    counter = ActivityCounter(network.steps)
    right, loss = 0, 0.0
    for start in range(0, len(split), _BATCH):
        inputs, labels = split.batch(slice(start, start + _BATCH))
        scores, activity = network.run(inputs)
        counter.add(activity)
        right += int((scores.argmax(1) == labels).sum())
        loss += float(functional.cross_entropy(scores, labels, reduction="sum"))
    network.train(training)
    return Evaluation(right / len(split), loss / len(split), counter)


def evaluate_test(network: Network, workload: Workload, root: Path) -> Evaluation:
    """Open the test split of a workload; a run calls this once, on its last iterate."""
    split = load_test(workload.data, root, workload.binning)
    return evaluate(network, split.to(network.readout.weight.device))
