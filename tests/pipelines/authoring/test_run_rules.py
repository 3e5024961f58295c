"""Rules about runs: budget, repetition and density."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from baselines.dense import Dense
from baselines.magnitude import Magnitude
from baselines.shared.masks import Masks
from pipelines.authoring import run_rules
from pipelines.authoring.check import rehearse_case
from pipelines.authoring.mask_rules import ContractError
from pipelines.data import load_training
from pipelines.data.splits import TrainingData

OPTIONS = {"start": 0.1, "stop": 0.6, "updates": 20, "scope": "global", "p": 2}


@pytest.fixture(scope="module")
def data(data_root: Path) -> TrainingData:
    return load_training("digits", data_root)


def test_an_unspent_budget_is_a_fault(data: TrainingData) -> None:
    rehearsal = rehearse_case(Magnitude, OPTIONS, ("unstructured", "ann", 0.4), data)
    run_rules.spends_its_budget(rehearsal)
    rehearsal.meter.phases.subtract(training=100)
    with pytest.raises(ContractError, match="the run ends after 2234 of 2334 samples"):
        run_rules.spends_its_budget(rehearsal)


def test_runs_that_differ_are_a_fault(data: TrainingData) -> None:
    class Remembering(Magnitude):
        runs: ClassVar[list[int]] = []

        def masks(self, progress: float) -> Masks | None:
            masks = super().masks(progress)
            self.runs.append(1)
            return masks if len(self.runs) % 2 else None

    one, two = (
        rehearse_case(Remembering, OPTIONS, ("unstructured", "ann", 0.4), data) for _ in range(2)
    )
    run_rules.repeats(one, one)
    with pytest.raises(ContractError, match="two runs with one seed give different masks"):
        run_rules.repeats(one, two)


def test_an_emergent_method_must_prune(data: TrainingData) -> None:
    whole = rehearse_case(Dense, {}, ("none", "ann", 1.0), data)
    with pytest.raises(ContractError, match="finds no density of its own, but ends at"):
        run_rules.reaches_its_density(replace(whole, target=None, masks=[]))
