"""Fidelity: what is measured in short runs of methods whose figures are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.shared.contract import Granularity, Pruner, PrunerInfo, Quantity
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.masks import Masks
from pipelines.authoring.fidelity import Findings, fidelity
from pipelines.boards.params import Params
from pipelines.methods import registry
from pipelines.settings.workload import Workload


@dataclass
class Probed(GradualPruner):
    """Score a unit by the loss increase at its removal, or by minus that."""

    info = PrunerInfo("probed", "A test.", "none", ("structured",))
    sign: float = 1.0

    def unit_scores(self) -> dict[str, Tensor]:
        groups = self.context.structure.groups
        ((inputs, labels),) = self.probe.batches(40)
        parameters = dict(self.network.named_parameters())

        @torch.no_grad()
        def loss(group: str, unit: int) -> float:
            units = {g.name: torch.ones(g.size, dtype=torch.bool) for g in groups}
            units[group][unit] = False
            masks = self.context.structure.masks(units).parameters
            masked = {n: parameters[n] * kept for n, kept in masks.items()}
            return float(self.probe.loss(inputs, labels, parameters=masked))

        return {
            g.name: self.sign * torch.tensor([loss(g.name, u) for u in range(g.size)])
            for g in groups
        }

    def fidelity(self) -> tuple[Quantity, ...]:
        return (Quantity("sign", self.sign, "1", least=0),)


@dataclass
class Returning(Pruner):
    """Keeps every second weight of a layer, then the others, then the first ones again."""

    info = PrunerInfo("returning", "A test.", "none", ("unstructured",))

    def due(self, progress: float) -> bool:
        return len(self.times) > 0 and progress >= self.times[0]

    def begin(self, *arguments: Any) -> None:
        super().begin(*arguments)
        self.times = [0.0, 0.3, 0.6]
        self.even = True

    def masks(self, progress: float) -> Masks:
        self.times.pop(0)
        found = {}
        for layer in self.context.structure.layers:
            even = torch.arange(layer.size) % 2 == 0
            found[layer.name] = (even if self.even else ~even).view(layer.shape)
        self.even = not self.even
        return self.context.structure.masks(weights=found)


@pytest.fixture
def measure(
    monkeypatch: pytest.MonkeyPatch, params: Params, tiny: dict[str, Workload], data_root: Path
) -> Any:
    """A function that measures a method which is not registered, in place of `magnitude`."""

    def run(method: Pruner, granularity: Granularity) -> Findings:
        monkeypatch.setattr(registry, "make", lambda name, options: method)
        short = params.model_copy(update={"workloads": params.workloads | tiny})
        spec = short.spec("digits-snn", "magnitude", granularity, 0.5, 3)
        return fidelity(spec, data_root)

    return run


@pytest.mark.parametrize(("sign", "low", "high"), [(1.0, 0.3, 1.0), (-1.0, -1.0, -0.3)])
def test_the_loss_itself_correlates_with_the_loss(
    measure: Any, sign: float, low: float, high: float
) -> None:
    found = measure(Probed(start=0.5, stop=0.5, sign=sign), "structured")
    assert found.correlation is not None
    assert low < found.correlation < high, "other samples: not exactly one"
    (quantity,) = found.quantities
    assert quantity.holds == (sign > 0)
    assert (found.early, found.regrown) == (0, 0), "one-shot pruning"
    assert 0.1 < found.removed < 1


def test_weights_that_come_back_are_counted(measure: Any) -> None:
    found = measure(Returning(), "unstructured")
    assert found.regrown == pytest.approx(1, abs=0.01), "all of them were pruned once"
    assert found.early == pytest.approx(0, abs=0.01), (
        "none of them was pruned before the last masks"
    )
    assert found.removed == pytest.approx(1, abs=0.01), "the other half was zero"
    assert found.correlation is None, "nothing was selected"
    assert found.quantities == ()
