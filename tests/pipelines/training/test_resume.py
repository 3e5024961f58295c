"""A run that was interrupted ends in the record of a run that was not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from baselines.magnitude import Magnitude
from baselines.shared.masks import Masks
from pipelines.audit.comparison import timeless
from pipelines.authoring.check import Case, cases, rehearse_case, synops_cases
from pipelines.authoring.mask_rules import ContractError
from pipelines.authoring.rehearsal import Rehearsal
from pipelines.authoring.run_rules import goes_on
from pipelines.boards.params import Params
from pipelines.data import fetch, load_training
from pipelines.data.splits import Split, TrainingData
from pipelines.engines.task import run_and_store
from pipelines.methods.registry import method, methods
from pipelines.records.outcome import EpochPoint
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training.cell import run_cell
from pipelines.training.resume import Resume, Signals, Stopped
from pipelines.training.trainer import Trainer
from tests.helpers.own_workloads import own_cell, own_workload

#: Methods with all kinds of state: tensors, generators, an optimizer, objects, running means.
FAST = ("deep_r", "dpap", "upr")
FAST_SYNOPS = ("magnitude", "structured")
#: Options of methods whose search would spend more samples than the few of these tests.
SMALL: dict[str, dict[str, Any]] = {"width_search": {"candidates": 4, "updates": 5}}


@pytest.fixture(scope="module")
def few(data_root: Path) -> TrainingData:
    """A part of the digits: five steps in each epoch."""
    data = load_training("digits", data_root)
    assert isinstance(data.train, Split)
    assert isinstance(data.validation, Split)
    first = torch.arange(320).numpy()
    return TrainingData(data.train.part(first), data.validation.part(first[:64]), data.classes)


@pytest.mark.parametrize(
    "name",
    [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in sorted(methods())],
)
def test_every_method_goes_on_after_an_interruption(
    name: str, few: TrainingData, params: Params
) -> None:
    # `check` covers all cases; the last granularity has most state.
    case = [case for case in cases(method(name)) if case[1] == "snn" and case[2] is not None][-1]
    require_goes_on(name, case, few, params)


def require_goes_on(name: str, case: Case, few: TrainingData, params: Params) -> None:
    """Interrupt a rehearsal before its sixth step, and compare its end with that of the whole."""
    kind = method(name)
    options = params.options(name, "digits-snn", case[0]) | SMALL.get(name, {})
    whole = rehearse_case(kind, options, case, few, store_at=6)
    goes_on(whole, rehearse_case(kind, options, case, few, noise=1, state=whole.state))


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, marks=() if (name, case[0]) == FAST_SYNOPS else pytest.mark.slow)
        for name, kind in methods().items()
        for case in synops_cases(kind)
    ],
)
def test_the_search_for_the_density_that_has_the_target_synops_goes_on(
    name: str, case: Case, few: TrainingData, params: Params
) -> None:
    require_goes_on(name, case, few, params)


class Forgetful(Magnitude):
    """Magnitude pruning with state that is not an attribute."""

    calls: list[float] = []  # noqa: RUF012 -- the fault

    def masks(self, progress: float) -> Masks | None:
        self.calls.append(progress)
        if len(self.calls) % 9 == 7:
            with torch.no_grad():
                self.network.get_parameter("fc1.weight").mul_(1 + 0.01 * len(self.calls))
        return super().masks(progress)


class Closing(Magnitude):
    """Magnitude pruning with an attribute that cannot be stored."""

    def begin(self, network: Any, context: Any) -> None:
        super().begin(network, context)
        self.factors = {"fc1": [lambda: 1.0]}


class Restored(Closing):
    """The same, with functions of its own for its state."""

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        del state["factors"]
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.factors = {"fc1": [lambda: 1.0]}


def of_magnitude(params: Params, kind: type, few: TrainingData) -> Callable[..., Rehearsal]:
    options = params.options("magnitude", "digits-snn", "structured")
    return partial(rehearse_case, kind, options, ("structured", "snn", 0.4), few)


def test_a_method_that_forgets_is_found(params: Params, few: TrainingData) -> None:
    rehearse = of_magnitude(params, Forgetful, few)
    whole = rehearse(store_at=2)
    with pytest.raises(ContractError, match=r"goes on has other .* state_dict\(\)"):
        goes_on(whole, rehearse(state=whole.state))


def test_what_cannot_be_stored_is_named(params: Params, few: TrainingData) -> None:
    with pytest.raises(
        ContractError, match=r"'magnitude' .* factors\['fc1'\]\[0\] is a .*<lambda>"
    ):
        of_magnitude(params, Closing, few)(store_at=2)
    rehearse = of_magnitude(params, Restored, few)
    whole = rehearse(store_at=2)
    goes_on(whole, rehearse(state=whole.state))


@dataclass
class Stopping(Resume):
    """Stops the run before a step, as a signal does."""

    stop_at: int = 0
    seen: int = 0
    shrunk: bool = False

    def before_step(self, trainer: Trainer, times: Callable[[], Mapping[str, Any]]) -> None:
        self.seen += 1
        if self.seen == self.stop_at:
            self.signals.store, self.signals.ending = True, signal.SIGTERM
            self.shrunk = bool(trainer.live.shrunk_at)
        super().before_step(trainer, times)


@pytest.fixture
def cell(params: Params, tiny: dict[str, Workload]) -> Callable[..., RunSpec]:
    """A cell with a network that live shrink makes smaller."""

    def of(*asked: Any, track: str = "from-scratch") -> RunSpec:
        wide = tiny["digits-snn"].network.with_widths((16, 16, 32))
        settings = tiny["digits-snn"].model_copy(update={"network": wide})
        spec = params.spec("digits-snn", *asked, 0, track)
        return msgspec.structs.replace(spec, settings=settings.of_track(track))

    return of


def test_a_run_that_is_stopped_twice_ends_in_the_record_of_one_that_is_not(
    cell: Callable[..., RunSpec], data_root: Path, tmp_path: Path
) -> None:
    """The second stop is after live shrink, in the second epoch."""
    spec, path = cell("magnitude", "structured", 0.25), tmp_path / "point.safetensors"
    whole = run_cell(spec, data_root)
    for step in (7, 20):
        stopping = Stopping(path, stop_at=step)
        with pytest.raises(Stopped):
            run_cell(spec, data_root, resume=stopping)
    assert stopping.shrunk
    points: list[EpochPoint] = []
    record = run_cell(spec, data_root, on_epoch=points.append, resume=Resume(path))
    assert record.interruptions == 2
    assert timeless(record) == timeless(whole)
    assert points == record.curve
    assert record.train_seconds is not None
    assert record.total_seconds is not None
    assert 0 < record.train_seconds < record.total_seconds


@pytest.mark.parametrize(
    ("granularity", "density", "options"),
    [("structured", 0.22, {"hidden": 64}), ("unstructured", 0.5, {"dropout": 0.3})],
)
def test_the_network_of_a_factory_goes_on(
    tmp_path: Path, granularity: str, density: float, options: dict[str, Any]
) -> None:
    """After live shrink, and with dropout, which draws from the global generator."""
    workload = own_workload(network_fields={"options": options})
    fetch(workload.data, tmp_path)
    spec, path = own_cell(workload, "magnitude", granularity, density), tmp_path / "point"
    whole = run_cell(spec, tmp_path)
    assert whole.status == "ok", whole.message
    torch.manual_seed(1)
    steps = sum(whole.spent.values()) // spec.recipe.batch_size
    stopping = Stopping(path, stop_at=steps * 7 // 8)
    with pytest.raises(Stopped):
        run_cell(spec, tmp_path, resume=stopping)
    assert stopping.shrunk == (granularity == "structured")
    torch.manual_seed(2)
    record = run_cell(spec, tmp_path, resume=Resume(path))
    assert record.interruptions == 1
    assert timeless(record) == timeless(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        ("dpap-st", "spatio-temporal", 0.5),
        ("dpap", "structured", "emergent"),
        ("lth", "unstructured", 0.3),
    ],
)
def test_a_killed_run_goes_on_from_its_last_resume_point(
    cell: Callable[..., RunSpec], data_root: Path, tmp_path: Path, asked: Any
) -> None:
    spec = cell(*asked)
    whole = run_cell(spec, data_root)
    for step in (25, 14):
        killing = Killing(tmp_path / "point.safetensors", every=0, stop_at=step)
        with pytest.raises(Killed):
            run_cell(spec, data_root, resume=killing)
    record = run_cell(spec, data_root, resume=Resume(killing.path))
    assert record.interruptions == 2
    assert timeless(record) == timeless(whole)


class Killed(Stopped):
    pass


@dataclass
class Killing(Stopping):
    """Kills a run before step `stop_at`, or before step `stop_start` of its checkpoint."""

    stop_start: int = 0

    def before_step(self, trainer: Trainer, times: Callable[[], Mapping[str, Any]]) -> None:
        self.seen += 1
        if self.seen == self.stop_at:
            raise Killed
        Resume.before_step(self, trainer, times)

    def beside(self, name: str) -> Resume:
        path = self.path.with_name(f"{name}.safetensors")
        return replace(self, path=path, stop_at=self.stop_start)


@pytest.mark.slow
def test_a_cell_with_post_training_may_be_killed_anywhere(
    cell: Callable[..., RunSpec], data_root: Path, tmp_path: Path
) -> None:
    """Twice while its checkpoint is trained, before its own first step, and in its fine-tuning."""
    spec, checkpoints = cell("magnitude", "structured", 0.5, track="post-training"), tmp_path / "c"
    whole = run_cell(spec, data_root, tmp_path / "other")
    path = tmp_path / "point.safetensors"
    for stops in ({"stop_start": 25}, {"stop_start": 9}, {"stop_at": 1}, {"stop_at": 8}):
        with pytest.raises(Killed):
            run_cell(spec, data_root, checkpoints, resume=Killing(path, every=0, **stops))
        assert bool(list(checkpoints.rglob("*.safetensors"))) == ("stop_at" in stops)
    record = run_cell(spec, data_root, checkpoints, resume=Resume(path))
    assert record.interruptions == 1, "before the first step nothing was stored"
    assert timeless(record) == timeless(whole)


def test_a_resume_point_of_other_code_or_of_a_damaged_file_is_ignored(
    cell: Callable[..., RunSpec], data_root: Path, tmp_path: Path
) -> None:
    spec, path = cell("dense", "none", 1.0), tmp_path / "point.safetensors"
    stopping = Stopping(path, stop_at=3)
    with pytest.raises(Stopped):
        run_cell(spec, data_root, resume=stopping)
    good = path.read_bytes()
    assert stopping.read() is not None
    for name in stopping.identity:
        other = Resume(path)
        other.identity = stopping.identity | {name: "other"}
        assert other.read() is None, name
    for bad in (good[: len(good) // 2], good[:-1] + bytes([good[-1] ^ 1]), b""):
        path.write_bytes(bad)
        assert stopping.read() is None


def test_storing_is_tried_again_after_a_full_disk(
    cell: Callable[..., RunSpec], data_root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.write_text("no folder, so that nothing can be written")

    class Freed(Stopping):
        def before_step(self, *given: Any) -> None:
            if self.seen == 2:
                folder.unlink()
            super().before_step(*given)

    with pytest.raises(Stopped):
        run_cell(
            cell("dense", "none", 1.0),
            data_root,
            resume=Freed(folder / "point.safetensors", every=0, stop_at=4),
        )
    assert (folder / "point.safetensors").exists()


def test_a_run_is_not_harmed_if_its_state_cannot_be_stored(
    cell: Callable[..., RunSpec],
    data_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full() -> dict[str, Any]:
        raise torch.OutOfMemoryError("the GPU is full")

    class Full(Resume):
        def before_step(self, trainer: Trainer, times: Any) -> None:
            trainer.state_dict = full  # type: ignore[method-assign]
            super().before_step(trainer, times)

    record = run_cell(
        cell("dense", "none", 1.0), data_root, resume=Full(tmp_path / "point", every=0)
    )
    assert record.status == "ok"
    assert capsys.readouterr().err.count("OutOfMemoryError: the GPU is full") == 1


def test_a_signal_ends_the_run_after_its_state_is_stored(
    cell: Callable[..., RunSpec], data_root: Path, tmp_path: Path
) -> None:
    spec, store = cell("dense", "none", 1.0), Store(tmp_path / "records")

    class Ended(BaseException):
        pass

    def end(*_: object) -> None:
        raise Ended

    def stop(_: EpochPoint) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(Ended):
            run_and_store(spec, data_root, store.root, stop)
        assert store.resume_point(spec).exists()
        assert not store.path(spec).exists()
        record: RunRecord = run_and_store(spec, data_root, store.root)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert record.interruptions == 1
    assert store.find(spec) == record
    assert not store.resume_point(spec).exists()


def test_a_signal_to_store_does_not_end_the_run() -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signals.store
        assert signals.ending is None
