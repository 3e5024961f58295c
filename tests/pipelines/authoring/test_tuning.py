"""Tuning: equal numbers of trials, the validation split only, repeatable results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from pipelines.authoring import tuning
from pipelines.authoring.tuning import Study, Trial, tuning_of
from pipelines.boards.hyperparameters import read_entries
from pipelines.boards.params import Params
from pipelines.boards.spaces import Choices, Range, Tuning
from pipelines.common.errors import BenchError, InputError
from pipelines.methods.registry import make, methods
from pipelines.records.files import read_record
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training import evaluation as evaluate
from pipelines.training.cell import run_cell
from tests.helpers.paths import ROOT
from tests.pipelines.cli.test_main import call

SPACE = {"stop": Range(low=0.3, high=0.9), "p": Choices(choices=(1, 2))}


@pytest.fixture(autouse=True)
def _no_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a trial opened the test split")

    monkeypatch.setattr(evaluate, "load_test", refuse)


@pytest.fixture
def study(params: Params, tiny: dict[str, Workload], data_root: Path, tmp_path: Path) -> Study:
    """Three trials of magnitude pruning on tiny networks."""
    asked = Tuning(
        workload="digits-snn", density=0.4, trials=3, seeds=(100,), spaces={"magnitude": SPACE}
    )
    recipe = tiny["digits-snn"].recipe.model_copy(update={"epochs": 1})
    workload = tiny["digits-snn"].model_copy(update={"recipe": recipe})
    params = params.model_copy(
        update={"tuning": asked, "workloads": params.workloads | {"digits-snn": workload}}
    )
    store = Store(tmp_path / "tuning")
    return Study(params, "magnitude", "unstructured", None, store, data_root, "serial", 1)


def note_of(study: Study) -> Any:
    (path,) = study.store.root.rglob("*.yaml")
    return yaml.safe_load(path.read_text())


def changed(study: Study, **changes: object) -> Study:
    """The same study with other values in the entry tuning:."""
    asked = tuning_of(study.params).model_copy(update=changes)
    return replace(study, params=study.params.model_copy(update={"tuning": asked}))


def test_trials_are_scored_on_validation(study: Study) -> None:
    records: list[RunRecord] = []
    first, best = study.run(records.append)
    assert first.options == study.params.methods["magnitude"], "the present setting comes first"
    assert len(records) == 3
    for record in records:
        assert record.status == "ok"
        assert record.spec.tuning
        assert record.spec.seed == 100
        assert record.outcome is not None
        assert record.outcome.test_accuracy is record.outcome.test_loss is None
        assert record.outcome.validation_accuracy == record.curve[-1].validation_accuracy
    assert best.score == max(r.outcome.validation_accuracy for r in records if r.outcome)
    options = [record.spec.options for record in records]
    assert len({(o["stop"], o["p"]) for o in options}) == 3
    assert all(o["scope"] == "global" for o in options), (
        "hyper-parameters outside the space do not change"
    )
    note = note_of(study)
    assert [run_id for run_id, _ in note["trials"]] == [r.run_id for r in records]
    assert note["best"] == best.options


def test_a_stopped_search_continues_to_the_same_result(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = study.run(lambda _: None)
    ran: list[str] = []

    def counting(spec: RunSpec, *where: Any) -> RunRecord:
        ran.append(spec.run_id)
        return run_cell(spec, *where)

    def stopping(record: RunRecord) -> None:
        if len(ran) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.engines.task.run_cell", counting)
    again = replace(study, store=Store(tmp_path / "again"))
    with pytest.raises(KeyboardInterrupt):
        again.run(stopping)
    assert again.run(lambda _: None) == whole
    assert len(ran) == len(set(ran)) == 3, "no finished trial is repeated"
    assert again.run(lambda _: None) == whole
    assert len(ran) == 3


def test_a_repeated_search_starts_where_the_first_one_started(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, best = study.run(lambda _: None)
    better = best.options | {"stop": 0.5}  # differs from the first setting
    path = next(study.store.root.rglob("*.yaml"))
    path.write_text(yaml.safe_dump(note_of(study) | {"best": better}))
    methods_ = study.params.methods | {"magnitude": better}
    moved = replace(study, params=study.params.model_copy(update={"methods": methods_}))
    monkeypatch.setattr("pipelines.engines.task.run_cell", None)
    assert moved.run(lambda _: None) == (first, best), (
        "it starts with the setting that the first search started with"
    )
    longer = changed(moved, seeds=(101,))
    assert longer._start() == better, "a different search starts with the present setting"


def test_the_number_of_workers_does_not_matter(study: Study, tmp_path: Path) -> None:
    one = study.run(lambda _: None)
    store = Store(tmp_path / "two")
    two = replace(study, store=store, engine="processes", workers=2).run(lambda _: None)
    assert one == two


def test_failed_trials_score_zero_with_a_reason(study: Study) -> None:
    present = study.params.methods["magnitude"]
    late = present | {"start": 0.7, "stop": 0.5}
    found = study._evaluate([present, late], lambda _: None)
    assert found[0].score > 0
    assert (found[1].score, found[1].run_ids) == (0.0, ())
    assert "need 0 <= start <= stop <= 1" in found[1].reason
    far = changed(study, seeds=(100, 101))
    spec = far._specs(present)[1]
    record = msgspec.structs.replace(
        run_cell(spec, far.data_root), status="off-target", message="density 0.5 instead of 0.4"
    )
    far.store.write(record)
    (trial,) = far._evaluate([present], lambda _: None)
    assert (trial.score, trial.reason) == (0.0, "off-target: density 0.5 instead of 0.4")
    assert len(trial.run_ids) == 2


def test_it_is_an_error_if_no_trial_succeeds(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Trial(study.params.methods["magnitude"], 0.0, reason="diverged: loss is nan")
    monkeypatch.setattr(Study, "_search", lambda *_: [lost])
    with pytest.raises(
        BenchError, match=r"no trial of 'magnitude' succeeded .first: diverged: los"
    ):
        study.run(lambda _: None)


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        ({"stopp": Range(low=0, high=1)}, "unknown option of method 'magnitude' 'stopp'; did you"),
        ({"scope": Range(low=0, high=1)}, "tuning.spaces.magnitude.scope is a range, but the hyp"),
        (
            {"stop": Range(low=0.99, high=1)},
            r"stop does not contain the present setting, 0\.\d+; widen",
        ),
        ({"p": Choices(choices=(3, 4))}, "p does not contain the present setting, [12]; widen"),
    ],
)
def test_spaces_that_do_not_fit_the_method_are_refused(
    study: Study, space: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        changed(study, spaces={"magnitude": space}).require_space()


def test_seeds_of_a_board_are_refused(study: Study) -> None:
    with pytest.raises(InputError, match="tuning and board 'quick' both use seed 1"):
        changed(study, seeds=(100, 1)).require_space()
    with pytest.raises(InputError, match=r"params.yaml has no entry tuning:"):
        tuning_of(study.params.model_copy(update={"tuning": None}))


@pytest.mark.parametrize("name", [n for n, k in methods().items() if dataclasses.fields(k)])  # type: ignore[arg-type]
def test_every_method_with_hyper_parameters_has_a_space(params: Params, name: str) -> None:
    asked = tuning_of(params)
    assert name in asked.spaces, f"write what tune searches under tuning: spaces: {name}:"
    store = Store(Path("nowhere"))
    Study(params, name, None, None, store, Path("nowhere"), "serial", 1).require_space()
    for option, values in asked.spaces[name].items():
        for choice in values.choices if isinstance(values, Choices) else ():
            make(name, params.methods[name] | {option: choice})


def test_every_space_belongs_to_a_method(params: Params) -> None:
    assert set(tuning_of(params).spaces) <= set(methods())


@pytest.fixture
def small(project: Path) -> Path:
    """A project with tiny networks, one epoch and three trials."""
    path = project / "params.yaml"
    text = path.read_text()
    for old, new in [
        ("16C3-MP2-32C3-MP2-64FC", "6C3-MP2-8C3-MP2-12FC"),
        ("epochs: 15", "epochs: 1"),
        ("trials: 12", "trials: 3"),
        ("density: 0.1\n", "density: 0.4\n"),
    ]:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return project


def test_tune_writes_the_best_options(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small / "methods.yaml"
    before = path.read_text()
    arguments = ("tune", "magnitude", "--granularity", "unstructured", "--workers", "1")
    assert call(monkeypatch, *arguments, "--dry-run") == 0
    captured = capsys.readouterr()
    assert "tuning: 3 of 3 runs" in captured.err, "progress goes to stderr"
    assert path.read_text() == before
    assert call(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == captured.out
    (note,) = (small / "results" / "tuning").rglob("*.yaml")
    best = yaml.safe_load(note.read_text())["best"]
    after = path.read_text()
    entries = read_entries(small)
    entry = entries.pop("magnitude")
    assert entry.options == best
    assert entry.tuned is not None
    (run_id,) = entry.tuned.runs
    record = read_record(note.parent / f"{run_id}.json")
    assert record.spec.options == best
    assert record.outcome is not None
    assert entry.tuned.validation == round(record.outcome.validation_accuracy, 4)
    assert entries.items() < read_entries(ROOT).items(), "other methods keep their entries"
    assert call(monkeypatch, *arguments) == 0
    assert path.read_text() == after, "a second tune changes nothing"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name the methods to tune, or give --all"),
        (("dense", "--all"), "name the methods to tune, or give --all"),
        (("magnitud",), "did you mean 'magnitude'"),
    ],
)
def test_tune_refuses_bad_input(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    assert call(monkeypatch, "tune", *arguments) == 2
    assert sentence in capsys.readouterr().err


def test_one_failed_method_does_not_stop_the_others(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def run(self: Study, progress: Callable[[RunRecord], None]) -> tuple[Trial, Trial]:
        ran.append(self.name)
        if self.name == "dpap":
            raise BenchError("no trial of 'dpap' succeeded.")
        trial = Trial(self.params.methods[self.name], 0.5, ("0" * 16,))
        return trial, trial

    monkeypatch.setattr(tuning.Study, "run", run)
    assert call(monkeypatch, "tune", "--all") == 1
    assert set(ran) == {n for n, kind in methods().items() if dataclasses.fields(kind)}  # type: ignore[arg-type]
    captured = capsys.readouterr()
    assert "dpap could not be tuned (see above)" in captured.err
    assert "magnitude: trial 0000000000000000, validation 50.0 %; before 50.0 %" in captured.out
    tuned = [entry.tuned for entry in read_entries(small).values() if entry.tuned]
    assert sum(one.runs == ("0" * 16,) for one in tuned) == len(ran) - 1
