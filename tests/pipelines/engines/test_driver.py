"""The driver: dependencies of each cell, lost workers, time limits, two sweeps of one board."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from pipelines.audit.comparison import timeless
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.engines.claims import Claims
from pipelines.engines.engine import Terms, run_cells
from pipelines.engines.serial import Serial
from pipelines.engines.task import Task, compute
from pipelines.records.checkpoint import checkpoint_path, dense_cell, write_checkpoint
from pipelines.records.digest import code_digest
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from tests.helpers.handmade import of_spec


class LostError(Exception):
    pass


class Handmade(Serial):
    """Returns handmade records at once, but first loses the worker of each task some times."""

    lost = (LostError,)

    def __init__(self, params: Params, losses: Callable[[RunSpec], int] = lambda _: 0) -> None:
        self.params, self.losses = params, losses
        self.submitted: list[str] = []
        self.computed: Counter[str] = Counter()

    def submit(self, task: Task) -> Future[RunRecord | None]:
        future: Future[RunRecord | None] = Future()
        self.submitted.append(task.label)
        if self.submitted.count(task.label) <= self.losses(task.spec):
            future.set_exception(LostError())
            return future
        self.computed[task.label] += 1
        folder = Store(task.store_root).checkpoints
        if task.only_start:
            path, dense = checkpoint_path(folder, task.spec), dense_cell(task.spec)
            write_checkpoint(path, {"w": torch.ones(1)}, dense.run_id, code_digest(dense))
            future.set_result(None)
        else:
            record = of_spec(self.params, task.spec)
            future.set_result(replace(record, checkpoint=task.checkpoint))
        return future


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "records")


@pytest.fixture
def engine(params: Params) -> Handmade:
    return Handmade(params)


@pytest.fixture
def pruned(cells: list[RunSpec]) -> RunSpec:
    return next(spec for spec in cells if spec.method == "magnitude")


@pytest.fixture
def late(pruned: RunSpec) -> RunSpec:
    """A cell on the post-training track."""
    return replace(pruned, track="post-training")


def test_lost_workers_are_tried_again(
    cells: list[RunSpec], params: Params, tmp_path: Path, store: Store
) -> None:
    engine = Handmade(params, lambda _: 2)
    terms = Terms(retries=2, pause=0)
    records = list(run_cells(cells[:3], tmp_path, store, engine, 1, terms=terms))
    assert [record.spec for record in records] == cells[:3]
    assert set(engine.computed.values()) == {1}
    assert not store.missing(cells[:3])


def test_a_cell_whose_worker_is_lost_too_often_stops_no_other(
    cells: list[RunSpec], params: Params, tmp_path: Path, store: Store
) -> None:
    engine = Handmade(params, lambda spec: 99 if spec == cells[0] else 0)
    runs = run_cells(cells[:2], tmp_path, store, engine, 1, terms=Terms(retries=1, pause=0))
    assert next(runs).spec == cells[1]
    with pytest.raises(BenchError, match=r"lost 2 times while it computed .* cells are kept"):
        next(runs)
    assert store.missing(cells[:2]) == cells[:1]


def test_cells_are_left_out_if_their_checkpoint_cannot_be_made(
    late: RunSpec, params: Params, tmp_path: Path, store: Store
) -> None:
    """Each of them would train the checkpoint again, and fail as it did."""
    engine, both = Handmade(params, lambda _: 99), [late, replace(late, control="shuffled")]
    with pytest.raises(BenchError, match=r"lost 2 times"):
        list(run_cells(both, tmp_path, store, engine, 1, terms=Terms(retries=1, pause=0)))
    assert set(engine.submitted) == {f"checkpoint of {dense_cell(late).label()}"}


class Diverging(Handmade):
    """Returns records of runs that diverged."""

    def submit(self, task: Task) -> Future[RunRecord | None]:
        record, future = super().submit(task).result(), Future[RunRecord | None]()
        assert record is not None
        future.set_result(replace(record, status="diverged", message="Loss.", outcome=None))
        return future


def test_a_control_is_left_out_if_the_new_record_of_its_cell_is_not_ok(
    pruned: RunSpec, params: Params, tmp_path: Path, store: Store
) -> None:
    engine, control = Diverging(params), replace(pruned, control="shuffled")
    store.write(of_spec(params, pruned))
    runs = run_cells([control, pruned], tmp_path, store, engine, 1, terms=Terms(anew=True))
    assert [record.spec for record in runs] == [pruned]
    assert engine.submitted == [pruned.label()]


def test_a_control_is_left_out_if_another_sweep_finds_that_its_cell_is_not_ok(
    pruned: RunSpec, params: Params, engine: Handmade, tmp_path: Path, store: Store
) -> None:
    control, bad = replace(pruned, control="shuffled"), of_spec(params, pruned)
    store.write(replace(bad, status="diverged", message="Loss.", outcome=None))
    runs = run_cells([pruned, control], tmp_path, store, engine, 1)
    assert [record.status for record in runs] == ["diverged"]
    assert engine.submitted == []


class Growing(Handmade):
    """Has a second worker only when the first one computes; the first waits for the second."""

    remote = True
    first: Future[RunRecord | None] | None = None

    @property
    def slots(self) -> int:  # type: ignore[override]
        return 1 if self.first is None else 2

    def submit(self, task: Task) -> Future[RunRecord | None]:
        ended = super().submit(task)
        if self.first is None:
            self.first, self.record = Future(), ended.result()
            late = threading.Timer(20, self.first.set_exception, [TimeoutError()])
            late.daemon = True
            late.start()
            self.first.add_done_callback(lambda _: late.cancel())
            return self.first
        if not self.first.done():
            self.first.set_result(self.record)
        return ended


def test_a_worker_that_comes_late_gets_a_cell_at_once(
    cells: list[RunSpec], params: Params, tmp_path: Path, store: Store
) -> None:
    engine, terms = Growing(params), Terms(look=0.01, retries=0)
    records = list(run_cells(cells[:2], tmp_path, store, engine, 1, terms=terms))
    assert {record.run_id for record in records} == {spec.run_id for spec in cells[:2]}


def test_controls_follow_their_cell_and_cells_their_checkpoint(
    late: RunSpec, engine: Handmade, tmp_path: Path, store: Store
) -> None:
    """A checkpoint is made once for all cells that start from it."""

    def follow(record: RunRecord) -> Iterator[RunSpec]:
        if not record.spec.control:
            yield replace(record.spec, control="shuffled")

    both = [late, replace(late, density=0.25)]
    records = list(run_cells(both, tmp_path, store, engine, 1, follow))
    controls = [replace(spec, control="shuffled") for spec in both]
    assert [record.spec for record in records] == [*both, *controls]
    start = f"checkpoint of {dense_cell(late).label()}"
    assert engine.submitted == [start, *(record.spec.label() for record in records)]
    assert len({record.checkpoint for record in records} - {""}) == 1
    assert not store.missing(both)
    assert not list(run_cells([late], tmp_path, store, engine, 1, terms=Terms(anew=True)))[1:]
    assert engine.computed[start] == 1


def test_a_control_waits_for_the_new_record_of_its_cell(
    pruned: RunSpec, params: Params, engine: Handmade, tmp_path: Path, store: Store
) -> None:
    control = replace(pruned, control="shuffled")
    store.write(of_spec(params, pruned))
    list(run_cells([control, pruned], tmp_path, store, engine, 1, terms=Terms(anew=True)))
    assert engine.submitted == [pruned.label(), control.label()]


def test_two_sweeps_share_the_cells(
    cells: list[RunSpec], params: Params, tmp_path: Path, store: Store
) -> None:
    """They take turns; each cell is computed by one of them, and both see its record."""
    engines = [Handmade(params), Handmade(params)]
    terms = Terms(look=0)
    sweeps = [run_cells(cells[:4], tmp_path, store, one, 1, terms=terms) for one in engines]
    seen: list[list[RunRecord]] = [[], []]
    for place in (0, 1, 1, 0, 0, 1, 1, 0):
        seen[place].append(next(sweeps[place]))
    for sweep in sweeps:
        assert next(sweep, None) is None
    assert engines[0].computed + engines[1].computed == Counter(s.label() for s in cells[:4])
    assert min(len(one.computed) for one in engines) > 0
    one, two = ({record.run_id: record for record in records} for records in seen)
    assert one == two


def test_a_cell_of_another_sweep_is_waited_for_or_left_out(
    cells: list[RunSpec], engine: Handmade, tmp_path: Path, store: Store
) -> None:
    with Claims(store.claims) as other:
        other.take(cells[0].run_id)
        terms = Terms(waits=False)
        assert not list(run_cells(cells[:1], tmp_path, store, engine, 1, terms=terms))
        runs = run_cells(cells[:2], tmp_path, store, engine, 1, terms=Terms(look=0))
        assert next(runs).spec == cells[1]
        other.release(cells[0].run_id)  # without a record: the other sweep was stopped
        assert next(runs).spec == cells[0]


def test_a_cell_goes_on_after_its_time_limit(
    cells: list[RunSpec], data_root: Path, store: Store
) -> None:
    spec = next(spec for spec in cells if spec.workload == "digits-ann")
    with pytest.raises(BenchError, match=r"took longer than 0 s .* longer --limit"):
        list(run_cells([spec], data_root, store, "serial", 1, terms=Terms(limit=0)))
    assert store.resume_point(spec).exists()
    assert store.missing([spec])
    (record,) = run_cells([spec], data_root, store, "serial", 1)
    assert record.interruptions == 1
    assert not store.resume_point(spec).exists()
    (whole,) = run_cells([spec], data_root, Store(store.root.with_name("whole")), "serial", 1)
    assert timeless(record) == timeless(whole)


def test_a_record_counts_although_its_resume_point_cannot_be_deleted(
    pruned: RunSpec, params: Params, engine: Handmade, tmp_path: Path, store: Store
) -> None:
    store.resume_point(pruned).mkdir(parents=True)
    list(run_cells([pruned], tmp_path, store, engine, 1, terms=Terms(pause=0)))
    assert engine.submitted == [pruned.label()]


def test_a_worker_refuses_other_code_and_another_checkpoint(
    late: RunSpec, data_root: Path, store: Store
) -> None:
    task = Task(late, data_root, store.root, code_digest(late))
    with pytest.raises(BenchError, match="other code"):
        compute(dataclasses.replace(task, code="other"))
    with pytest.raises(BenchError, match="another dense checkpoint"):
        compute(dataclasses.replace(task, checkpoint="other"))
