"""The driver: dependencies of each cell, lost workers, time limits, two sweeps of one board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Self

import pytest
from msgspec.structs import replace

from pipelines.audit.comparison import timeless
from pipelines.common.errors import BenchError
from pipelines.engines.claims import Claims
from pipelines.engines.engine import Terms, run_cells
from pipelines.engines.serial import Serial
from pipelines.engines.task import Task, TimeLimitError, compute
from pipelines.records.checkpoint import checkpoint_path
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec


class Lost(Exception):
    pass


class Losing(Serial):
    """Loses the worker of each task a number of times, and counts the tasks that it computes."""

    lost = (Lost,)

    def __init__(self, times: int = 0) -> None:
        self.times = times
        self.submitted: list[str] = []
        self.computed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def submit(self, task: Task) -> Future[RunRecord | None]:
        self.submitted.append(task.label)
        if self.submitted.count(task.label) <= self.times:
            future: Future[RunRecord | None] = Future()
            future.set_exception(Lost())
            return future
        self.computed[task.label] += 1
        return super().submit(task)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "records")


@pytest.fixture
def late(cells: list[RunSpec]) -> RunSpec:
    """A cell on the post-training track."""
    spec = next(spec for spec in cells if spec.method == "magnitude")
    return replace(spec, track="post-training")


def test_lost_workers_are_tried_again(cells: list[RunSpec], data_root: Path, store: Store) -> None:
    engine = Losing(times=2)
    terms = Terms(retries=2, pause=0)
    records = list(run_cells(cells[:2], data_root, store, engine, 1, terms=terms))
    assert [record.spec for record in records] == cells[:2]
    assert set(engine.computed.values()) == {1}
    assert not store.missing(cells[:2])


def test_a_cell_whose_worker_is_lost_too_often_stops_no_other(
    cells: list[RunSpec], data_root: Path, store: Store
) -> None:
    class Killer(Losing):
        def submit(self, task: Task) -> Future[RunRecord | None]:
            self.times = 99 if task.spec == cells[0] else 0
            return super().submit(task)

    runs = run_cells(cells[:2], data_root, store, Killer(), 1, terms=Terms(retries=1, pause=0))
    assert next(runs).spec == cells[1]
    with pytest.raises(BenchError, match=r"lost 2 times while it computed .* cells are kept"):
        next(runs)
    assert store.missing(cells[:2]) == cells[:1]


def test_controls_follow_their_cell_and_cells_their_checkpoint(
    cells: list[RunSpec], late: RunSpec, data_root: Path, store: Store
) -> None:
    """Each as soon as possible, and a checkpoint once for all that start from it."""
    other = replace(late, density=0.25)

    def follow(record: RunRecord) -> Iterator[RunSpec]:
        if not record.spec.control:
            yield replace(record.spec, control="shuffled")

    engine = Losing()
    records = list(run_cells([late, other], data_root, store, engine, 1, follow))
    start = f"checkpoint of {engine.submitted[0].removeprefix('checkpoint of ')}"
    assert engine.submitted == [start, *(record.spec.label() for record in records)]
    assert {record.run_id for record in records} == {
        replace(spec, control=control).run_id
        for spec in (late, other)
        for control in ("", "shuffled")
    }
    assert len({record.checkpoint for record in records}) == 1
    assert not store.missing([record.spec for record in records])


def test_a_control_waits_for_the_new_record_of_its_cell(
    cells: list[RunSpec], data_root: Path, store: Store
) -> None:
    spec = next(spec for spec in cells if spec.method == "magnitude")
    control = replace(spec, control="shuffled")
    list(run_cells([spec], data_root, store, "serial", 1))
    engine = Losing()
    list(run_cells([control, spec], data_root, store, engine, 1))
    assert engine.submitted == [spec.label(), control.label()]


def test_two_sweeps_share_the_cells(cells: list[RunSpec], data_root: Path, store: Store) -> None:
    """They take turns here; each cell is computed by one of them, and both see its record."""
    engines = [Losing(), Losing()]
    terms = Terms(look=0)
    sweeps = [run_cells(cells[:4], data_root, store, one, 1, terms=terms) for one in engines]
    seen: list[list[RunRecord]] = [[], []]
    for place in (0, 1, 1, 0, 0, 1, 1, 0):
        seen[place].append(next(sweeps[place]))
    for sweep in sweeps:
        assert next(sweep, None) is None
    assert engines[0].computed + engines[1].computed == Counter(spec.label() for spec in cells[:4])
    assert min(len(one.computed) for one in engines) > 0
    one, two = ({record.run_id: record for record in records} for records in seen)
    assert one == two


def test_a_cell_of_another_sweep_is_waited_for_or_left_out(
    cells: list[RunSpec], data_root: Path, store: Store
) -> None:
    with Claims(store.claims) as other:
        other.take(cells[0].run_id)
        terms = Terms(waits=False)
        assert not list(run_cells(cells[:1], data_root, store, "serial", 1, terms=terms))
        runs = run_cells(cells[:2], data_root, store, "serial", 1, terms=Terms(look=0))
        assert next(runs).spec == cells[1]
        other.release(cells[0].run_id)  # without a record: the other sweep was stopped
        assert next(runs).spec == cells[0]


def test_a_cell_goes_on_after_its_time_limit(
    cells: list[RunSpec], data_root: Path, store: Store
) -> None:
    spec = cells[0]
    with pytest.raises(BenchError, match=r"took longer than 0 s .* longer --limit"):
        list(run_cells([spec], data_root, store, "serial", 1, terms=Terms(limit=0)))
    assert store.resume_point(spec).exists()
    assert store.missing([spec])
    (record,) = run_cells([spec], data_root, store, "serial", 1)
    assert record.interruptions == 1
    (whole,) = run_cells([spec], data_root, Store(store.root.with_name("whole")), "serial", 1)
    assert timeless(record) == timeless(whole)


def test_a_worker_refuses_other_code_and_another_checkpoint(
    late: RunSpec, data_root: Path, store: Store, task: Callable[[RunSpec], Task]
) -> None:
    with pytest.raises(BenchError, match="other code"):
        compute(replace_task(task(late), code="other"))
    with pytest.raises(BenchError, match="another dense checkpoint"):
        compute(replace_task(task(late), checkpoint="other"))
    assert compute(replace_task(task(late), only_start=True)) is None
    assert checkpoint_path(store.checkpoints, late).exists()
    with pytest.raises(TimeLimitError):
        compute(replace_task(task(late), limit=0))


@pytest.fixture
def task(data_root: Path, store: Store) -> Callable[[RunSpec], Task]:
    from pipelines.records.digest import code_digest

    return lambda spec: Task(spec, data_root, store.root, code_digest(spec))


def replace_task(task: Task, **changes: object) -> Task:
    import dataclasses

    return dataclasses.replace(task, **changes)  # type: ignore[arg-type]
