"""A run that was interrupted ends in the record of a run that was not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from pipelines.audit.comparison import timeless
from pipelines.authoring.check import cases, interruption, rehearse_case
from pipelines.authoring.run_rules import goes_on
from pipelines.boards.params import Params
from pipelines.data import load_training
from pipelines.data.splits import Split, TrainingData
from pipelines.engines.task import run_and_store
from pipelines.methods.registry import method, methods
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training import resume as resume_module
from pipelines.training.cell import run_cell
from pipelines.training.resume import Resume, Signals, Stopped


@pytest.fixture(scope="module")
def few(data_root: Path) -> TrainingData:
    """A part of the digits."""
    data = load_training("digits", data_root)
    assert isinstance(data.train, Split)
    assert isinstance(data.validation, Split)
    first = torch.arange(640)
    return TrainingData(
        data.train.part(first.numpy()), data.validation.part(first[:64].numpy()), data.classes
    )


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_method_goes_on_after_an_interruption(
    name: str, few: TrainingData, params: Params
) -> None:
    """The last granularity has most state; `check` covers the others."""
    kind = method(name)
    case = [case for case in cases(kind) if case[1] == "snn" and case[2] is not None][-1]
    options = params.options(name, case[0])
    step = min(18, interruption(kind, case))
    whole = rehearse_case(kind, options, case, few, store_at=step)
    goes_on(whole, rehearse_case(kind, options, case, few, noise=1, state=whole.state))
