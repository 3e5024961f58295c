"""ADMM: its updates by hand, and that its weights come to their pruned copy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from baselines.admm import ADMM
from baselines.shared.contract import PruneContext
from baselines.shared.groups import weight_structure
from pipelines.boards.params import Params
from pipelines.methods import registry
from pipelines.settings.network import NetworkSpec
from pipelines.training.cell import build_network, build_structure, run_cell


def context(structure, granularity: str, density: float) -> PruneContext:  # type: ignore[no-untyped-def]
    return PruneContext(structure, granularity, density, torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def test_updates_by_hand() -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
    weight = net[0].weight
    with torch.no_grad():
        weight.copy_(torch.tensor([[3.0, 1.0], [-2.0, 0.0]]))
    pruner = ADMM(start=0.2, stop=0.6, updates=5, rho=0.1, decades=2)
    pruner.begin(net, context(weight_structure(net, "1"), "unstructured", 0.5))
    assert not pruner.due(0.1)
    assert pruner.penalty() is None

    assert pruner.masks(0.2) is None
    z, u = pruner.pruned["0.weight"], pruner.dual["0.weight"]
    assert z.tolist() == [[3, 0], [-2, 0]]
    assert u.tolist() == [[0, 1], [0, 0]]
    assert pruner.residuals == [pytest.approx((1 / 14) ** 0.5)]
    with torch.no_grad():
        weight.copy_(torch.tensor([[3.0, 2.0], [-2.0, 0.0]]))
    penalty = pruner.penalty()
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.1 / 2 * (2 - 0 + 1) ** 2)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 0.3], [0.0, 0.0]]))

    assert pruner.masks(0.4) is None  # W + U = [[3, 3], [-2, 0]], and rho is ten times as large
    assert pruner.pruned["0.weight"].tolist() == [[3, 3], [0, 0]]
    torch.testing.assert_close(pruner.dual["0.weight"], torch.tensor([[0.0, 0.0], [-0.2, 0.0]]))
    assert pruner.strength == pytest.approx(1.0)

    with torch.no_grad():
        weight.copy_(torch.tensor([[0.1, 3.0], [-2.0, 0.0]]))
    masks = pruner.masks(0.6)
    assert masks is not None
    assert masks.parameters["0.weight"].tolist() == [[False, True], [True, False]]
    assert pruner.penalty() is None
    assert not pruner.due(1.0)


def test_a_unit_is_its_filter_and_what_reads_it() -> None:
    net = build_network(NetworkSpec(kind="ann", layout="2C3-2FC"), (1, 2, 2), 3, 0)
    structure = build_structure(net, "structured")
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.1)
    with torch.no_grad():
        net.get_parameter("fc1.weight")[:, 4:] = 0.5  # what reads the second channel
        net.get_parameter("readout.weight")[:, 0] = -0.5  # the first neuron's columns
        net.get_parameter("conv1_norm.weight")[0] = 9.0  # batch norm is not weighed
    pruner = ADMM(start=0.2)
    pruner.begin(net, context(structure, "structured", 0.3))
    assert pruner.masks(0.2) is None
    conv, fc, readout = (pruner.pruned[f"{n}.weight"] for n in ("conv1", "fc1", "readout"))
    assert conv[:, 0, 0, 0].tolist() == pytest.approx([0, 0.1])
    assert fc[:, [0, 4]].tolist() == [pytest.approx([0, 0.5]), [0, 0]]
    assert readout.tolist() == 3 * [pytest.approx([-0.5, 0])]


@pytest.mark.parametrize("granularity", ["structured", "unstructured"])
def test_weights_come_to_their_pruned_copy_and_retraining_recovers(
    monkeypatch: pytest.MonkeyPatch, params: Params, data_root: Path, granularity: str
) -> None:
    made: list[ADMM] = []

    def keep(name: str, options: dict[str, float]) -> ADMM:
        made.append(ADMM())
        return made[-1]

    monkeypatch.setattr(registry, "make", keep)
    spec = params.spec("digits-ann", "admm", granularity, 0.15, 0)
    record = run_cell(spec, data_root)
    assert record.status == "ok", record.message
    residuals = made[-1].residuals
    assert residuals[-1] < residuals[0] / 2, residuals
    (residual,) = made[-1].fidelity()
    assert residual.value == residuals[-1]
    assert residual.holds
    after = next(p.validation_accuracy for p in record.curve if p.density < 1)
    assert record.outcome is not None
    assert record.curve[-1].validation_accuracy > max(after, 0.9)
