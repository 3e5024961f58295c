"""A live run: it grows with the curve, ends as the run of its record, and never stops the cell."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.boards.params import Params
from pipelines.records.files import files_digest
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.report.tracking.experiments import NO_BOARD, Entry
from pipelines.report.tracking.live import SHARE, LiveRun, Sender, pause
from tests.helpers.handmade import unstructured
from tests.helpers.tracking_stores import Sink

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

pytestmark = pytest.mark.filterwarnings("ignore")

NAME = "magnitude unstructured 0.5 seed 0, digits-snn"


@pytest.fixture
def record(params: Params) -> RunRecord:
    return unstructured(params, "magnitude", 0, 0.94, 0.5)


@pytest.fixture
def store(project: Path) -> Store:
    return Store(project / "results" / "local")


def entry(store: Store, record: RunRecord) -> Entry:
    path = store.write(record)
    return Entry(record, path, files_digest(path), "local")


def content(sink: Sink, run: Run) -> dict[str, Any]:
    """What a run shows, without ids and times."""
    own = ("dpap_bench.clone", "mlflow.parentRunId")
    histories = {
        name: [
            (point.step, point.value)
            for point in sink.client.get_metric_history(run.info.run_id, name)
        ]
        for name in run.data.metrics
    }
    return {
        "status": run.info.status,
        "tags": {name: text for name, text in run.data.tags.items() if name not in own},
        "parameters": run.data.params,
        "curves": histories,
        "artifacts": sink.artifacts(run),
    }


def test_it_becomes_the_run_that_a_sync_would_write(
    params: Params, record: RunRecord, store: Store, project: Path, sink: Sink
) -> None:
    with LiveRun(sink.tracker(), record.spec, "local") as live:
        for point in record.curve:
            live.add(point)
    run = sink.runs(NO_BOARD)[NAME]
    assert run.info.status == "RUNNING"
    assert run.data.params["settings.recipe.epochs"] == "15"
    curve = sink.client.get_metric_history(run.info.run_id, "validation_accuracy")
    assert [(point.step, point.value) for point in curve] == [(1, 0.9), (2, 0.9)]
    live.complete(entry(store, record))
    assert sink.sync(params, project) == {"added": 1, "unchanged": 1}, "the parent run is new"
    completed = content(sink, sink.runs(NO_BOARD)[NAME])
    sink.sync(params, project, "other")
    (synced,) = (one for one in sink.tracker().runs("other") if one.data.tags["kind"] == "run")
    assert completed == content(sink, synced)


def test_a_sync_leaves_a_cell_alone_that_is_training(
    params: Params, record: RunRecord, store: Store, project: Path, sink: Sink
) -> None:
    store.write(record)  # an earlier run of the same cell
    with LiveRun(sink.tracker(), record.spec, "local") as live:
        live.add(record.curve[0])
        assert sink.sync(params, project) == {"added": 2}
        live.add(record.curve[1])
    live.complete(entry(store, unstructured(params, "magnitude", 0, 0.95, 0.5)))
    assert sink.sync(params, project) == {"deleted": 1, "unchanged": 2}, "the earlier run goes"
    assert sink.runs(NO_BOARD)[NAME].info.run_id == live.run_id


def test_a_cell_that_is_stopped_leaves_its_curve_until_there_is_a_record(
    params: Params, record: RunRecord, store: Store, project: Path, sink: Sink
) -> None:
    live = LiveRun(sink.tracker(), record.spec, "local")

    def train() -> None:
        with live:
            live.add(record.curve[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert sink.sync(params, project) == {}
    run = sink.runs(NO_BOARD)[NAME]
    assert run.info.status == "KILLED"
    assert run.data.metrics["train_loss"] == 1.0
    store.write(record)
    assert sink.sync(params, project) == {"added": 1, "replaced": 1}
    assert sink.runs(NO_BOARD)[NAME].info.run_id != run.info.run_id


def test_a_cell_that_was_killed_is_ended_by_the_next_one(
    record: RunRecord, sink: Sink, params: Params, project: Path
) -> None:
    killed = LiveRun(sink.tracker(), record.spec, "local")
    theirs = LiveRun(sink.tracker("theirs"), record.spec, "local")
    again = LiveRun(sink.tracker(), record.spec, "local")
    states = {
        run.run_id: sink.client.get_run(run.run_id).info.status for run in (killed, theirs, again)
    }
    assert states == {killed.run_id: "KILLED", theirs.run_id: "RUNNING", again.run_id: "RUNNING"}


def test_sending_takes_its_share_of_time() -> None:
    """After 3 ms of sending there are 297 ms without: 3 ms of 300 ms is one hundredth."""
    assert pause(0.003) == pytest.approx(0.297)
    assert 0.003 / (0.003 + pause(0.003)) == pytest.approx(SHARE)


def test_points_are_sent_in_order_and_again_after_an_error() -> None:
    points = [points_of(epoch) for epoch in range(3)]
    calls: SimpleQueue[list[Metric]] = SimpleQueue()
    failed = Event()

    def send(batch: list[Metric]) -> None:
        if not failed.is_set():
            failed.set()
            raise ConnectionError
        calls.put(batch)

    sender = Sender(send)
    sender.start()
    sender.put(points[0])
    failed.wait()
    sender.put(points[1])
    sender.put(points[2])
    sender.close()
    sent = []
    while not calls.empty():
        sent += calls.get()
    assert sent == points[0] + points[1] + points[2]


def points_of(epoch: int) -> list[Metric]:
    from mlflow.entities import Metric

    return [Metric("train_loss", 1.0 / (1 + epoch), 0, epoch)]
