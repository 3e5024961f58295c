"""MLflow: what it is told, and that it follows the records."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError, InputError
from pipelines.records.outcome import LayerCost
from pipelines.records.store import Store, board_store
from pipelines.report.charts.layers import layers_figure
from pipelines.report.tracking import sink as tracking
from pipelines.report.tracking.experiments import NO_BOARD, experiments
from pipelines.report.tracking.sink import synchronize
from tests.helpers.handmade import record, unstructured
from tests.helpers.tracking_stores import Sink
from tests.pipelines.cli.test_main import call

pytestmark = pytest.mark.filterwarnings("ignore")

RECORDS, GROUPS = 9, 3


def test_an_experiment_is_a_board_and_a_method_a_parent_run(
    params: Params, root: Path, sink: Sink
) -> None:
    assert sink.sync(params, root) == {"added": RECORDS + GROUPS}
    assert sink.names() == {"small"}, "the large board has nothing of its own yet"
    runs = sink.runs("small")
    parents = {name: run for name, run in runs.items() if run.data.tags["kind"] == "method"}
    assert {*parents} == {f"digits-snn {name}" for name in ("dense", "magnitude", "random")}
    magnitude = parents["digits-snn magnitude"]
    nested = {
        name
        for name, run in runs.items()
        if run.data.tags.get("mlflow.parentRunId") == magnitude.info.run_id
    }
    assert nested == {
        "magnitude unstructured 0.5 seed 0, digits-snn",
        "magnitude unstructured 0.5 seed 1, digits-snn",
        "magnitude unstructured 0.25 seed 0, digits-snn",
    }
    assert magnitude.data.tags["status"] == "1 diverged, 2 ok"
    assert magnitude.info.status == "FAILED"
    assert magnitude.data.metrics["runs/diverged"] == 1
    assert magnitude.data.metrics["accuracy/unstructured"] == pytest.approx(0.95)
    assert magnitude.data.metrics["gain_over_random/unstructured"] == pytest.approx(0.05)
    assert "| magnitude | 0.5 " in magnitude.data.tags["mlflow.note.content"]
    random = parents["digits-snn random"].info.run_id
    curve = sink.client.get_metric_history(random, "accuracy/unstructured")
    assert [(point.step, point.value) for point in curve] == [(250, 0.9), (500, 0.9)]
    home = sink.client.get_experiment_by_name("small")
    note = home.tags["mlflow.note.content"]
    assert f"Board **small**: {RECORDS} of 10 cells have a record." in note
    assert "| magnitude | 95.00 ± 12.71 |" in note
    link = r"\[Compare the methods on (.+)\]\(#/compare-runs\?(\S+)\)"
    ((place, query),) = re.findall(link, note)
    asked = {key: json.loads(value[0]) for key, value in parse_qs(query).items()}
    assert place == "digits-snn"
    assert set(asked["runs"]) == {run.info.run_id for run in parents.values()}
    assert asked["experiments"] == [home.experiment_id]
    assert home.tags["mlflow.experiment.primaryMetric.name"] == "test_accuracy"


def test_what_a_run_shows(params: Params, root: Path, sink: Sink) -> None:
    sink.sync(params, root)
    runs = sink.runs("small")
    run = runs["magnitude unstructured 0.5 seed 0, digits-snn"]
    figures = {"test_accuracy": 0.94, "flops": 2000, "parameters": 60, "train_seconds": 2.0}
    assert figures.items() <= run.data.metrics.items()
    assert run.info.end_time - run.info.start_time == 3000
    assert run.data.params["method"] == "magnitude"
    assert run.data.params["settings.recipe.epochs"] == "15"
    for curve in ("validation_accuracy", "train_loss", "density", "firing_rate"):
        history = sink.client.get_metric_history(run.info.run_id, curve)
        assert [point.step for point in history] == [1, 2]
    assert run.info.status == "FINISHED"
    assert sink.artifacts(run) == ["confusion.svg", "layers.svg", "record.json"]
    written = Path(run.info.artifact_uri.removeprefix("file://")) / "record.json"
    run_id = json.loads(written.read_text())["run_id"]
    assert run_id == written_id(params)
    diverged = runs["magnitude unstructured 0.25 seed 0, digits-snn"]
    assert diverged.info.status == "FAILED"
    assert diverged.data.tags["status"] == "diverged"
    assert sink.artifacts(diverged) == ["record.json"]


def written_id(params: Params) -> str:
    return params.spec("digits-snn", "magnitude", "unstructured", 0.5, 0).run_id


def test_it_follows_new_changed_and_vanished_records(
    params: Params, root: Path, sink: Sink
) -> None:
    sink.sync(params, root)
    assert sink.sync(params, root) == {"unchanged": RECORDS + GROUPS}
    before = {name: run.info.run_id for name, run in sink.runs("small").items()}
    home = sink.client.get_experiment_by_name("small")
    foreign = sink.client.create_run(home.experiment_id, run_name="mine")
    store = board_store(root, "small")

    slower = replace(unstructured(params, "magnitude", 0, 0.94, 0.5), train_seconds=9.0)
    store.write(slower)
    # The table of the method shows times too, so its parent run is another one.
    counts = sink.sync(params, root)
    assert counts == {"replaced": 2, "unchanged": RECORDS + GROUPS - 2}
    runs = sink.runs("small")
    assert (
        runs["magnitude unstructured 0.5 seed 0, digits-snn"].data.metrics["train_seconds"] == 9.0
    )
    parent = runs["digits-snn magnitude"].info.run_id
    for name in before:
        if name.startswith("magnitude"):
            assert runs[name].data.tags["mlflow.parentRunId"] == parent, "it moves with its parent"
    moved = "magnitude unstructured 0.5 seed 1, digits-snn"
    assert runs[moved].info.run_id == before[moved], "and is the same run"

    vanished = runs["random unstructured 0.5 seed 1, digits-snn"]
    folder = Path(vanished.info.artifact_uri.removeprefix("file://"))
    assert folder.exists()
    store.path(unstructured(params, "random", 1, 0.9, 0.5).spec).unlink()
    store.write(unstructured(params, "magnitude", 1, 0.9, 0.25))
    assert sink.sync(params, root)["deleted"] == 1
    assert not folder.exists(), "artifacts go with their run"
    runs = sink.runs("small")
    assert len(runs) == RECORDS + GROUPS + 1
    assert runs["mine"].info.run_id == foreign.info.run_id, "a run of somebody else stays"


@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_sync_that_stops_goes_on(
    params: Params, root: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """It stops while a run is being written, at several places."""
    from mlflow.tracking import MlflowClient

    calls = Counter[str]()
    original = MlflowClient.log_batch

    def stop(self: MlflowClient, *arguments: Any, **more: Any) -> Any:
        calls["log_batch"] += 1
        if calls["log_batch"] == after:
            raise KeyboardInterrupt
        return original(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", stop)
        with pytest.raises(KeyboardInterrupt):
            sink.sync(params, root)
    counts = sink.sync(params, root)
    assert counts.pop("unchanged", 0) == after - 1
    assert sum(counts.values()) == RECORDS + GROUPS - after + 1
    assert sink.sync(params, root) == {"unchanged": RECORDS + GROUPS}
    assert len(sink.runs("small")) == RECORDS + GROUPS
    parents = {run.info.run_id for run in sink.runs("small").values()}
    nested = [run.data.tags.get("mlflow.parentRunId") for run in sink.runs("small").values()]
    assert {*nested} - {None} <= parents


def test_each_board_with_records_is_an_experiment(params: Params, root: Path, sink: Sink) -> None:
    store = board_store(root, "large")
    small = board_store(root, "small")
    for _, one in small.records():
        store.copy(one.spec, small)
    store.write(record(params, "dense", 0, 0.97, workload="digits-ann"))
    cell = unstructured(params, "magnitude", 0, 0.9, 0.5)
    spec = replace(cell.spec, control="shuffled")
    store.write(replace(cell, spec=spec, run_id=spec.run_id))
    sink.sync(params, root)
    assert sink.names() == {"small", "large"}
    assert len(sink.runs("small")) == RECORDS + GROUPS
    large = sink.runs("large")
    assert len(large) == RECORDS + GROUPS + 3, "copies of the small board's, and three runs more"
    control = large["magnitude-shuffled unstructured 0.5 seed 0, digits-snn"]
    parent = large["digits-snn magnitude"]
    assert control.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert control.data.tags["folder"] == "controls"
    assert parent.data.metrics["accuracy/unstructured"] == pytest.approx(0.95), "controls apart"


def test_records_of_no_board_are_apart_and_have_no_means(
    params: Params, root: Path, sink: Sink
) -> None:
    Store(root / "results" / "local").write(unstructured(params, "magnitude", 0, 0.5, 0.5))
    board_store(root, "small").write(unstructured(params, "magnitude", 5, 0.5, 0.5))
    sink.sync(params, root)
    assert sink.names() == {"small", NO_BOARD}
    runs = sink.runs(NO_BOARD)
    assert {*runs} == {
        "digits-snn magnitude",
        "magnitude unstructured 0.5 seed 0, digits-snn",
        "magnitude unstructured 0.5 seed 5, digits-snn",
    }
    assert runs["digits-snn magnitude"].data.metrics == {"runs/ok": 2}
    assert (
        "no comparison" in sink.client.get_experiment_by_name(NO_BOARD).tags["mlflow.note.content"]
    )


def test_a_deleted_experiment_comes_back(params: Params, root: Path, sink: Sink) -> None:
    sink.sync(params, root)
    sink.client.delete_experiment(sink.client.get_experiment_by_name("small").experiment_id)
    sink.sync(params, root)
    assert sink.names() == {"small"}
    assert sink.sync(params, root) == {"unchanged": RECORDS + GROUPS}
    assert len(sink.runs("small")) == RECORDS + GROUPS


def test_a_long_note_ends_with_a_line(params: Params) -> None:
    note = "\n".join(f"line {number}" for number in range(1000))
    cut = tracking._cut(note, 100)
    assert len(cut) <= 100
    head, _, rest = cut.partition("\n\n")
    assert note.startswith(f"{head}\n")
    assert rest == "The rest is in results/boards/."
    assert tracking._cut(note, len(note)) == note


def test_the_figure_shows_each_layer(params: Params) -> None:
    outcome = unstructured(params, "magnitude", 0, 0.9).outcome
    assert outcome is not None
    layer = {"dense_operations": 1, "effective_macs": 1.0, "effective_acs": 0.0}
    layers = {
        "conv1": LayerCost(density=0.5, firing_rate=0.1, **layer),
        "readout": LayerCost(density=1.0, firing_rate=None, **layer),
    }
    cost = replace(outcome.cost, layers=layers)
    one, other = layers_figure(cost, "one"), layers_figure(outcome.cost, "other")
    values = one["data"]["values"]
    assert [(v["layer"], v["figure"], v["value"]) for v in values] == [
        ("conv1", "density", 0.5),
        ("conv1", "firing rate", 0.1),
        ("readout", "density", 1.0),
    ]
    assert (one["title"], other["title"], other["data"]["values"]) == ("one", "other", [])


def test_two_at_a_time_are_refused(
    root: Path,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from filelock import FileLock

    (root / "results" / "local").mkdir()
    with FileLock(root / "results" / "local" / "sync.lock"):
        assert call(monkeypatch, "sync") == 1
    assert "another dpap-bench sync is running here" in capsys.readouterr().err
    assert call(monkeypatch, "sync", "--json") == 0
    assert json.loads(capsys.readouterr().out)["added"] == RECORDS + GROUPS
    assert len(sink.runs("small")) == RECORDS + GROUPS
    assert (sink.folder / "mlruns").is_dir()


NOTE = "mlflow.note.content"


def written(sink: Sink, clone: str) -> set[str]:
    """MLflow's ids of the runs of a clone."""
    return {run.info.run_id for run in sink.tracker(clone).runs(clone)}


def test_another_clone_is_left_alone(params: Params, root: Path, sink: Sink) -> None:
    sink.sync(params, root, "theirs")
    theirs = {run.info.run_id: run for run in sink.tracker("theirs").runs("theirs")}
    store = board_store(root, "small")
    for path, _ in list(store.records()):
        if path.parent.name != "dense":
            path.unlink()
    store.write(unstructured(params, "dense", 0, 0.5))
    assert sink.sync(params, root, "mine") == {"added": 2 + 1}
    store.path(unstructured(params, "dense", 1, 0.5).spec).unlink()
    assert sink.sync(params, root, "mine") == {"replaced": 1, "deleted": 1, "unchanged": 1}
    again = {run.info.run_id: run for run in sink.tracker("theirs").runs("theirs")}
    assert again.keys() == theirs.keys()
    for run_id, run in again.items():
        assert run.data.to_dictionary() == theirs[run_id].data.to_dictionary()
        assert sink.artifacts(run) == sink.artifacts(theirs[run_id])
    assert all(
        run.data.tags.get("mlflow.parentRunId", "") not in written(sink, "mine")
        for run in again.values()
    )


def test_the_description_of_a_shared_experiment_has_a_part_of_each_clone(
    params: Params, root: Path, sink: Sink
) -> None:
    sink.sync(params, root, "theirs")
    alone = sink.tags("small")[NOTE]
    assert "## Clone" not in alone
    store = board_store(root, "small")
    store.path(unstructured(params, "magnitude", 0, 0.0, 0.25).spec).unlink()
    sink.sync(params, root, "mine")
    both = sink.tags("small")[NOTE]
    assert both.index("## Clone mine") < both.index("## Clone theirs")
    assert f"{RECORDS - 1} of 10 cells" in both
    assert alone in both
    for path, _ in list(store.records()):
        path.unlink()
    sink.sync(params, root, "mine")
    assert sink.tags("small")[NOTE] == alone
    sink.sync(params, root, "theirs")
    assert "No clone has records" in sink.tags("small")[NOTE]


def test_an_experiment_of_somebody_else_keeps_its_description(
    params: Params, root: Path, sink: Sink
) -> None:
    home = sink.client.create_experiment("small", tags={NOTE: "Of another project."})
    foreign = sink.client.create_run(home, run_name="foreign")
    for expected in ({"added": RECORDS + GROUPS}, {"unchanged": RECORDS + GROUPS}):
        assert sink.sync(params, root) == expected
        assert sink.tags("small") == {NOTE: "Of another project."}
    assert sink.runs("small")["foreign"].info.run_id == foreign.info.run_id


def test_runs_of_a_clone_that_is_gone_are_taken_over(
    params: Params, root: Path, sink: Sink
) -> None:
    sink.sync(params, root, "gone")
    before = written(sink, "gone")
    store = board_store(root, "small")
    store.path(unstructured(params, "magnitude", 0, 0.0, 0.25).spec).unlink()
    counts = sink.sync(params, root, "mine", "gone")
    assert counts == {"replaced": 1, "deleted": 1, "unchanged": RECORDS + GROUPS - 2}
    assert len(written(sink, "mine") & before) == RECORDS + GROUPS - 2
    assert written(sink, "gone") == set()
    assert "## Clone" not in sink.tags("small")[NOTE]
    with pytest.raises(InputError, match="no run of the clone 'gone' is there"):
        sink.sync(params, root, "mine", "gone")


def test_a_deleted_experiment_with_runs_of_others_stays_deleted(
    params: Params, root: Path, sink: Sink
) -> None:
    sink.sync(params, root, "theirs")
    home = sink.client.get_experiment_by_name("small").experiment_id
    sink.client.delete_experiment(home)
    with pytest.raises(BenchError, match=f"restore --experiment-id {home}"):
        sink.sync(params, root, "mine")
    assert sink.names() == set()


def test_a_run_that_was_deleted_does_not_come_back_with_its_experiment(
    params: Params, root: Path, sink: Sink
) -> None:
    """It has no artifacts any more, even if its record is the old one again."""
    path = board_store(root, "small").path(unstructured(params, "dense", 0, 0.98).spec)
    old = path.read_bytes()
    sink.sync(params, root)
    path.unlink()
    sink.sync(params, root)
    path.write_bytes(old)
    sink.client.delete_experiment(sink.client.get_experiment_by_name("small").experiment_id)
    sink.sync(params, root)
    assert sink.artifacts(sink.runs("small")["dense none 1.0 seed 0, digits-snn"])


def test_artifacts_that_cannot_be_deleted_are_told(
    params: Params, root: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    def refuse(*_: Any) -> None:
        raise PermissionError("deletion is forbidden")

    sink.sync(params, root)
    slower = replace(unstructured(params, "magnitude", 0, 0.94, 0.5), train_seconds=9.0)
    board_store(root, "small").write(slower)
    monkeypatch.setattr(LocalArtifactRepository, "delete_artifacts", refuse)
    changes = synchronize(experiments(params, root), sink.tracker())
    assert changes.replaced == 2
    assert changes.kept_artifacts == ["deletion is forbidden"] * 2
    assert len(sink.runs("small")) == RECORDS + GROUPS
