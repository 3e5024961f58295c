"""Hostile methods: each is a failed row, and the state that cells share is as before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from baselines.random import Random
from baselines.shared.masks import Masks
from pipelines import data
from pipelines.boards.params import Params
from pipelines.records.store import Store
from pipelines.settings.workload import Workload
from pipelines.training import cell as cell_module
from pipelines.training import evaluation
from pipelines.training.cell import run_cell
from pipelines.training.isolation import Shared
from tests.helpers.paths import ROOT


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def patch_the_harness() -> None:
    evaluation.evaluate = lambda *_: None  # type: ignore[assignment]


def change_code() -> None:
    evaluation.correct_of.__code__ = (lambda test: None).__code__


def hook() -> None:
    torch.nn.modules.module.register_module_forward_hook(lambda *_: None)


#: What a method does, and a part of the message of its record.
DEEDS: dict[str, tuple[Callable[[], object], str]] = {
    "patches the harness": (patch_the_harness, "pipelines.training.evaluation.evaluate"),
    "changes the code of a function": (change_code, "evaluation.correct_of"),
    "leaves a hook": (hook, "hooks of all modules"),
    "turns autograd off": (lambda: torch.set_grad_enabled(False), "gradients"),
    "turns mkldnn off": (lambda: torch.backends.mkldnn.set_flags(False), "mkldnn"),
    "sets a dtype": (lambda: torch.set_default_dtype(torch.float64), "default dtype"),
    "sets threads": (lambda: torch.set_num_threads(2), "number of threads"),
    "changes PATH": (lambda: os.environ.update(PATH="/nowhere"), "the variable PATH"),
    "changes sys.path": (lambda: sys.path.insert(0, "/nowhere"), "sys.path"),
    "calls sys.exit": (lambda: sys.exit(0), "SystemExit"),
    "calls os._exit": (lambda: os._exit(0), "SystemExit"),
    "raises BaseException": (raising(BaseException("x")), "BaseException"),
    "raises GeneratorExit": (raising(GeneratorExit()), "GeneratorExit"),
    "raises what cannot be encoded": (raising(ValueError("\ud800\nx")), "ValueError"),
    "raises what has no text": (raising(UnprintableError()), "no text"),
    "writes a long message": (raising(ValueError("x" * 10**7)), "xxx"),
    "opens the test split": (lambda: data.load_test("digits", Path()), "must not see the test"),
    "trains outside of the budget": (lambda: "trains", "of the budget|phase 'saliency' asks for"),
    "reads the training split": (lambda: "reads", "has no attribute 'train'"),
    "gives masks of floats": (lambda: "floats", "a mask is torch.bool"),
}


@pytest.mark.parametrize("what", DEEDS)
def test_a_hostile_method_is_a_failed_row_and_leaves_nothing(
    params: Params,
    tiny: dict[str, Workload],
    data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    act, message = DEEDS[what]

    @dataclass
    class Hostile(Random):
        def masks(self, progress: float) -> Masks | None:
            did = act()
            if did == "reads":
                self.probe.train.batch(slice(8))  # type: ignore[attr-defined]
            if did == "trains":
                inputs, _ = next(iter(self.probe.batches(8)))
                for _ in range(1000):
                    self.network(inputs).sum().backward()
            if did == "floats":
                name = next(iter(self.layer_weights()))
                return Masks({f"{name}.weight": torch.ones(self.layer_weights()[name].shape)})
            raise RuntimeError("the end")  # the rest of the run would only take time

    spec = params.spec("digits-ann", "random", "unstructured", 0.5, 0)
    spec = replace(spec, settings=tiny["digits-ann"])
    monkeypatch.setattr(cell_module, "check", lambda spec: Hostile())
    before = Shared.now()
    record = run_cell(spec, data_root)
    assert record.status == ("over-budget" if "budget" in what else "failed")
    assert any(part in record.message for part in message.split("|")), record.message
    assert len(record.message) < 2000
    assert record.outcome is None
    assert before.restore() == []
    store = Store(tmp_path)
    store.write(record)
    assert store.find(spec) == record


def test_an_honest_run_leaves_nothing(
    params: Params, tiny: dict[str, Workload], data_root: Path
) -> None:
    spec = params.spec("digits-snn", "magnitude", "hybrid", 0.5, 0)
    before = Shared.now()
    assert run_cell(replace(spec, settings=tiny["digits-snn"]), data_root).status == "ok"
    assert before.restore() == []


@pytest.mark.slow
def test_the_first_use_of_an_optimizer_is_no_change() -> None:
    """PyTorch replaces `step` of its class then; a new process has not used any."""
    code = (
        "import torch; from pipelines.training.isolation import Shared; before = Shared.now();"
        "optim = torch.optim; kinds = (optim.SGD, optim.Adam, optim.AdamW);"
        "[kind([torch.zeros(1)]) for kind in kinds]; print(before.restore())"
    )
    found = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert found == "[]\n"
