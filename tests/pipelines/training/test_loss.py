"""The losses of workloads, worked by hand and compared with torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.data import load_training
from pipelines.networks.initial import build_network
from pipelines.settings.workload import Workload
from pipelines.training.budget import BudgetMeter
from pipelines.training.evaluation import evaluate
from pipelines.training.loss import loss_of
from pipelines.training.probe import NetworkProbe


def test_mean_squared_error_by_hand() -> None:
    scores = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    labels = torch.tensor([0, 1])
    assert loss_of("mse", scores, labels, "none").tolist() == [0.0, 0.25]
    assert loss_of("mse", scores, labels, "sum").item() == 0.25
    loss = loss_of("mse", scores, labels)
    assert loss.item() == 0.125
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0.0, 0.0], [0.25, -0.25]]  # 2 (score - one_hot) / (2 x 2)
    torch.testing.assert_close(
        loss, torch.nn.functional.mse_loss(scores, torch.eye(2)), rtol=0, atol=0
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_equals_that_of_torch(reduction: Any) -> None:
    scores, labels = torch.randn(5, 3), torch.arange(5) % 3
    expected = torch.nn.functional.cross_entropy(scores, labels, reduction=reduction)
    assert torch.equal(loss_of("cross-entropy", scores, labels, reduction), expected)


def test_evaluation_and_saliency_use_the_loss_of_the_workload(
    tiny: dict[str, Workload], data_root: Path
) -> None:
    data = load_training("digits", data_root)
    network = build_network(tiny["digits-ann"].network, data.input_shape, data.classes, 0)
    train = data.train.part(np.arange(40))
    with torch.no_grad():
        scores = network.eval()(train.inputs)
    evaluation = evaluate(network, train, "mse")
    expected = float(loss_of("mse", scores, train.labels))
    assert evaluation.loss == pytest.approx(expected, rel=1e-6)

    meter, generator = BudgetMeter(1000), torch.Generator().manual_seed(0)
    probe = NetworkProbe(network.train(), train, 40, meter, generator, "mse")
    inputs, labels = next(probe.batches(40))
    loss = loss_of("mse", network(inputs), labels)
    torch.testing.assert_close(probe.loss(inputs, labels), loss)
    weight = network.readout.weight
    (total,) = torch.autograd.grad(loss_of("mse", network(inputs), labels, "sum"), weight)
    per_example = dict(probe.per_example(inputs, labels))["readout"]
    torch.testing.assert_close(per_example.sum(0), total, rtol=1e-4, atol=1e-6)
