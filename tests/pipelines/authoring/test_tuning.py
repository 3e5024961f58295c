"""Tuning: equal searches, validation alone, resumption, and spaces of equal freedom."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.audit.seal import SEAL, broken_seals
from pipelines.authoring.tuning import Study, Trials, run_trials, studies_of, tuning_of
from pipelines.boards.hyperparameters import read_entries
from pipelines.boards.params import Params
from pipelines.boards.spaces import Choices, Range, Space, Tuning
from pipelines.common.errors import InputError
from pipelines.methods.registry import make, methods
from pipelines.records.files import read_record
from pipelines.records.record import RunRecord
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training import evaluation as evaluate
from pipelines.training.cell import run_cell
from tests.helpers.paths import ROOT
from tests.pipelines.cli.test_main import call

SPACE: Space = {"stop": Range(low=0.3, high=0.9), "p": Choices(choices=(1, 2))}
TUNED = [name for name, kind in methods().items() if dataclasses.fields(kind)]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _no_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a trial opened the test split")

    monkeypatch.setattr(evaluate, "load_test", refuse)


@pytest.fixture
def asked(params: Params, tiny: dict[str, Workload]) -> Params:
    """Three settings of magnitude pruning on tiny networks, with few seeds."""
    tuning = Tuning(
        workloads=("digits-snn",),
        density=0.4,
        settings=3,
        rungs=(1, 2),
        search_seeds=(100, 101),
        confirmation_seeds=(200, 201),
        spaces={"magnitude": SPACE},
    )
    recipe = tiny["digits-snn"].recipe.model_copy(update={"epochs": 1})
    workload = tiny["digits-snn"].model_copy(update={"recipe": recipe})
    workloads = params.workloads | {"digits-snn": workload}
    return params.model_copy(update={"tuning": tuning, "workloads": workloads})


def study_of(params: Params, folder: Path) -> Study:
    """The study of magnitude, unstructured."""
    trials = Trials(folder, tuning_of(params))
    (study,) = studies_of(params, trials, ["magnitude"], "unstructured", "snn")
    return study


def changed(params: Params, **changes: object) -> Params:
    """The same parameters with other values in the entry tuning:."""
    return params.model_copy(update={"tuning": tuning_of(params).model_copy(update=changes)})


class Computer:
    """Runs trials and stores their records, as the command does; remembers their run ids."""

    def __init__(self, study: Study, data_root: Path, most: int = 1000) -> None:
        self.study, self.data_root, self.most = study, data_root, most
        self.ran: list[str] = []

    def __call__(self, specs: Sequence[RunSpec]) -> Iterator[RunRecord]:
        for spec in specs:
            if len(self.ran) == self.most:
                raise KeyboardInterrupt
            record = run_cell(spec, self.data_root)
            self.study.trials.store(spec).write(record)
            self.ran.append(record.run_id)
            yield record


@pytest.mark.slow
def test_trials_are_judged_on_validation_alone(
    asked: Params, data_root: Path, tmp_path: Path
) -> None:
    study = study_of(asked, tmp_path)
    records: list[RunRecord] = []
    run_trials([study], Computer(study, data_root), records.append)
    for record in records:
        assert record.status == "ok"
        assert record.spec.tuning
        assert record.outcome is not None
        assert record.outcome.test_accuracy is record.outcome.test_loss is None
    search = [record for record in records if record.spec.seed < 200]
    assert Counter(record.spec.seed for record in search) == {100: 3, 101: 2}
    first = study.search().rungs[0].means
    by_setting = {
        setting: record.outcome.validation_accuracy
        for record in search
        for setting, options in enumerate(study.settings)
        if record.outcome and record.spec.seed == 100 and record.spec.options == options
    }
    assert first == by_setting
    assert study.settings[0] == asked.methods["magnitude"], "the default comes first"
    assert study.runs_left == 0


def test_values_of_a_granularity_are_in_its_default_and_do_not_hide_a_setting(
    asked: Params, tmp_path: Path
) -> None:
    own = {"p": 2, "updates": 7}
    granularities = {"magnitude": {"unstructured": own, "structured": {"stop": 0.7}}}
    study = study_of(asked.model_copy(update={"granularities": granularities}), tmp_path)
    assert study.settings[0] == asked.methods["magnitude"] | own
    assert {setting["p"] for setting in study.settings} == {1, 2}
    assert [study.spec(one, 100).options for one in range(3)] == study.settings


@pytest.mark.slow
def test_tuning_that_was_stopped_continues_to_the_same_result(
    asked: Params, data_root: Path, tmp_path: Path
) -> None:
    whole = study_of(asked, tmp_path / "whole")
    computer = Computer(whole, data_root)
    run_trials([whole], computer, lambda _: None)
    ran: list[str] = []
    for _ in computer.ran:
        part = study_of(asked, tmp_path / "parts")
        one = Computer(part, data_root, most=1)
        with suppress(KeyboardInterrupt):
            run_trials([part], one, lambda _: None)
        ran += one.ran
    assert ran == computer.ran, "no finished trial is repeated"
    again = study_of(asked, tmp_path / "parts")
    assert again.missing() == []
    assert again.search() == whole.search()


def scores_of(study: Study, of_setting: Sequence[float], fresh: Sequence[float]) -> None:
    """Give scores to all trials: of each setting, in the search and in the confirmation."""
    for seeds, scores in (
        (study.tuning.search_seeds, of_setting),
        (study.tuning.confirmation_seeds, fresh),
    ):
        for place, seed in enumerate(seeds):
            for setting, score in enumerate(scores):
                spec = study.spec(setting, seed)
                study.trials.scores[spec.run_id] = score + 0.01 * place


def test_only_a_better_setting_is_confirmed_and_on_fresh_seeds(
    asked: Params, tmp_path: Path
) -> None:
    study = study_of(asked, tmp_path)
    scores_of(study, [0.5, 0.4, 0.4], [])
    assert (study.search().best, study.missing()) == (0, []), "the default needs no confirmation"
    scores_of(study, [0.5, 0.4, 0.6], [])
    missing = study.missing()
    assert [(spec.options, spec.seed) for spec in missing] == [
        (study.settings[setting], seed) for setting in (0, 2) for seed in (200, 201)
    ]
    assert {study.trials.store(spec) for spec in missing} == {study.trials.confirmation}
    assert study.runs_left == len(missing)
    assert study.confirmation(2) is None
    scores_of(study, [0.5, 0.4, 0.6], [0.55, 0.0, 0.52])
    assert study.missing() == []
    found = study.confirmation(2)
    assert found is not None
    assert found.gain == pytest.approx(-0.03)
    assert not found.is_better, "what was better by chance is not taken"


def test_failed_trials_score_zero(asked: Params, data_root: Path, tmp_path: Path) -> None:
    study = study_of(asked, tmp_path)
    first = study.spec(0, 100)
    record = run_cell(first, data_root)
    study.trials.add(replace(record, status="off-target", message="density 0.5 instead of 0.4"))
    assert study.trials.score(first) == 0.0
    while missing := study.missing():
        for spec in missing:
            study.trials.scores[spec.run_id] = 0.0
    halving = study.search()
    assert halving.rungs[0].means == dict.fromkeys(range(3), 0.0)
    assert study.confirmation(1) is None, "there is nothing to confirm"
    assert study.fault(halving) == (
        "no trial of magnitude unstructured snn succeeded (first: off-target: density 0.5 instead "
        "of 0.4); correct the method, or its search space in methods.yaml."
    )


@pytest.mark.parametrize(
    "space",
    [{"stop": Range(low=0.99, high=1)}, {"p": Choices(choices=(3, 4))}],
)
def test_a_space_without_the_default_is_refused(
    asked: Params, tmp_path: Path, space: Space
) -> None:
    with pytest.raises(InputError, match="does not contain the default"):
        study_of(changed(asked, spaces={"magnitude": space}), tmp_path)


def test_seeds_and_workloads_of_the_tuning_are_checked(asked: Params) -> None:
    with pytest.raises(InputError, match="tuning and board 'quick' both use seed 1"):
        tuning_of(changed(asked, search_seeds=(100, 1)))
    with pytest.raises(InputError, match="tuning and board 'quick' both use seed 2"):
        tuning_of(changed(asked, confirmation_seeds=(2, 200)))
    one = asked.board("quick")
    more = one.model_copy(update={"workload_seeds": {one.workloads[0]: {one.densities[0]: (100,)}}})
    with pytest.raises(InputError, match="tuning and board 'quick' both use seed 100"):
        tuning_of(asked.model_copy(update={"boards": {"quick": more}}))
    with pytest.raises(InputError, match="unknown workload 'digits'"):
        tuning_of(changed(asked, workloads=("digits",)))
    with pytest.raises(InputError, match="two workloads of tuning: have the same kind"):
        tuning_of(changed(asked, workloads=("digits-snn", "fashion-snn")))
    with pytest.raises(InputError, match=r"params.yaml has no entry tuning:"):
        tuning_of(asked.model_copy(update={"tuning": None}))


def test_every_study_has_the_same_number_of_trials(params: Params, tmp_path: Path) -> None:
    tuning = tuning_of(params)
    studies = studies_of(params, Trials(tmp_path, tuning))
    for study in studies:
        choices = [len(one.choices) for one in study.space.values() if isinstance(one, Choices)]
        finite = math.prod(choices) if len(choices) == len(study.space) else tuning.settings
        assert len(study.settings) == min(finite, tuning.settings), study
        assert len(study.missing()) == len(study.settings) * tuning.rungs[0]
    assert tuning.rungs[-1] >= 5, "the settings of the last rung have five seeds at least"
    assert len(tuning.confirmation_seeds) >= 10
    assert {study.kind for study in studies if study.granularity == "spatio-temporal"} == {"snn"}
    kinds = {study.kind for study in studies if study.name == "magnitude"}
    assert kinds == {"snn", "ann"}


def test_tuning_never_opens_a_test_split(params: Params, tmp_path: Path) -> None:
    """The data set of its workloads has none, and each trial is marked as such."""
    tuning = tuning_of(params)
    assert {params.workloads[name].data for name in tuning.workloads} == {"fashion-tuning"}
    for study in studies_of(params, Trials(tmp_path, tuning), ["magnitude", "dpap"]):
        for setting in range(2):
            for seed in tuning.seeds:
                assert study.spec(setting, seed).tuning
    for board in params.boards.values():
        assert not set(board.workloads) & set(tuning.workloads)


#: Methods that compare over the whole network by definition; layer by layer, the first two would
#: be `magnitude`.
GLOBAL = {"lamp", "slamp", "slimming", "synflow"}


def freedom(name: str) -> set[str]:
    """Hyper-parameters that the space of a method must have, by the fields of its class.

    Every gradual method moves the window in which it prunes, and its scope. A method whose window
    ends at the first step prunes at initialisation, so its window is fixed. DPAP's window begins
    with its first update; its epsilon is how strict it is.
    """
    kind = methods()[name]
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    window = {"start", "stop"} if defaults.get("stop") != 0.0 else set()
    scope = set() if name in GLOBAL else {"scope"}
    dpap = {"first_update", "conv_epsilon", "linear_epsilon"}
    return (window | scope | dpap) & set(defaults)


@pytest.mark.parametrize("name", TUNED)
def test_spaces_have_equal_freedom(params: Params, name: str) -> None:
    spaces = tuning_of(params).spaces
    assert name in spaces, f"write what tune searches under {name}: space: in methods.yaml"
    space = spaces[name]
    assert freedom(name) <= set(space)
    assert len(space) <= 5
    start, stop = space.get("start"), space.get("stop")
    if isinstance(start, Range) and isinstance(stop, Range):
        assert start.high <= stop.low, "no setting of the search is refused"
    for option, values in space.items():
        for choice in values.choices if isinstance(values, Choices) else ():
            make(name, params.methods[name] | {option: choice})


def test_every_space_belongs_to_a_method(params: Params) -> None:
    assert set(tuning_of(params).spaces) <= set(methods())


@pytest.fixture
def small(project: Path) -> Path:
    """A project with tiny networks on the digits, one epoch and three settings."""
    path = project / "params.yaml"
    text = path.read_text()
    for old, new in [
        ("data: fashion-tuning", "data: digits"),
        ("16C3-MP2-32C3-MP2-64FC", "6C3-MP2-8C3-MP2-12FC"),
        ("epochs: 3\n", "epochs: 1\n"),
        ("density: 0.1\n", "density: 0.4\n"),
        ("settings: 10", "settings: 3"),
        ("rungs: [2, 5, 8]", "rungs: [1, 2]"),
        ("[100, 101, 102, 103, 104, 105, 106, 107]", "[100, 101]"),
        ("[200, 201, 202, 203, 204, 205, 206, 207, 208, 209]", "[200, 201]"),
    ]:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return project


@pytest.mark.slow
def test_the_command_writes_results_and_what_is_better(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Accuracies are replaced so that a later stop is better, on every seed."""

    def rated(spec: RunSpec, *where: Any) -> RunRecord:
        record = run_cell(spec, *where)
        assert record.outcome is not None
        score = 0.5 * spec.options["stop"] + 0.001 * (spec.seed % 3) * spec.options["p"]
        return replace(record, outcome=replace(record.outcome, validation_accuracy=score))

    monkeypatch.setattr("pipelines.engines.task.run_cell", rated)
    path = small / "methods.yaml"
    entries = read_entries(small)
    before = path.read_text()
    arguments = ("tune", "magnitude", "--granularity", "unstructured", "--kind", "ann")
    arguments += ("--workers", "1")
    assert call(monkeypatch, *arguments, "--dry-run") == 0
    captured = capsys.readouterr()
    assert "magnitude unstructured ann: the default is replaced; start 0." in captured.out
    assert path.read_text() == before
    folder = small / "results" / "tuning"
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    assert call(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == captured.out
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.json")) == written

    entry = read_entries(small)["magnitude"]
    changes = entry.tuned["ann"]["unstructured"]
    assert changes["stop"] > entry.options["stop"]
    assert (folder / "confirmation" / SEAL).exists()
    assert not list(broken_seals(folder / "confirmation"))
    confirmed = [read_record(path) for path in (folder / "confirmation").rglob("*.json")]
    assert Counter(record.spec.seed for record in confirmed) == {200: 2, 201: 2}
    better = [r.spec.options for r in confirmed if r.spec.options != entry.options]
    assert better == [entry.options | changes] * 2
    others = read_entries(small)
    del others["magnitude"], entries["magnitude"]
    assert others == entries, "other methods keep their entries"

    assert call(monkeypatch, "tune", "--report") == 0
    table = capsys.readouterr().out
    assert "| `magnitude` | ann | unstructured |" in table
    assert "| tuned | start 0." in table


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name the methods to tune, or give --all"),
        (("magnitude", "--all"), "name the methods to tune, or give --all"),
        (("magnitude", "--report"), "--report is of all methods"),
        (("magnitude", "--update", "page.md"), "--report is of all methods"),
        (("magnitud",), "did you mean 'magnitude'"),
        (("dense",), "unknown method with a search space in methods.yaml 'dense'"),
        (("fpgm", "--granularity", "unstructured"), "no method that was named has this granul"),
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


def test_the_report_goes_between_the_markers_of_a_document(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = project / "page.md"
    page.write_text("# Page\n")
    assert call(monkeypatch, "tune", "--report", "--update", "page.md") == 1
    assert "has no lines '<!-- tuning -->'" in capsys.readouterr().err
    page.write_text("# Page\n<!-- tuning -->\n<!-- end of tuning -->\n")
    assert call(monkeypatch, "tune", "--report", "--update", "page.md") == 0
    assert "| method | network |" in page.read_text()


def test_tuned_values_are_those_that_were_confirmed() -> None:
    """methods.yaml of this repository, and the results in results/tuning."""
    from pipelines.authoring.tuning_results import read_results, tuned_changes

    for name, entry in read_entries(ROOT).items():
        results = read_results(ROOT / "results" / "tuning", name)
        assert entry.tuned == tuned_changes(results), f"run: dpap-bench tune {name}"
        for granularities in entry.tuned.values():
            for changes in granularities.values():
                make(name, entry.options | changes)
