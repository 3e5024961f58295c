"""Dask gives the records of the engine ``serial``, also if workers are killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines.audit.comparison import timeless
from pipelines.common.errors import BenchError
from pipelines.engines.dask import Dask
from pipelines.engines.engine import Terms, make_engine, run_cells
from pipelines.engines.task import Task
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec

distributed: Any = pytest.importorskip("distributed")

KILLS = 5


class Counting(Dask):
    """Counts the records that it gives."""

    def __init__(self, scheduler: str, given: Counter[str]) -> None:
        super().__init__(1, scheduler)
        self.given = given

    def submit(self, task: Task) -> Future[RunRecord | None]:
        future = super().submit(task)
        future.add_done_callback(self._count)
        return future

    def _count(self, future: Future[RunRecord | None]) -> None:
        if not future.cancelled() and not future.exception() and (record := future.result()):
            self.given[record.run_id] += 1


@pytest.fixture
def scheduler() -> Iterator[str]:
    """The address of a scheduler with two workers, each a process."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
def test_two_sweeps_share_two_workers_of_which_one_is_killed_five_times(
    cells: list[RunSpec], data_root: Path, tmp_path: Path, scheduler: str
) -> None:
    """Each cell is computed once, and both sweeps see the records of the engine ``serial``."""
    serial, there = Store(tmp_path / "serial" / "records"), Store(tmp_path / "dask" / "records")
    # First, because Python 3.11 cannot parse code, for its digest, in two threads at a time.
    expected = {r.run_id: timeless(r) for r in run_cells(cells[:6], data_root, serial, "serial", 1)}
    given: Counter[str] = Counter()

    def sweep() -> dict[str, RunRecord]:
        terms = Terms(pause=0, look=0.2)
        runs = run_cells(cells[:6], data_root, there, Counting(scheduler, given), 1, terms=terms)
        return {record.run_id: record for record in runs}

    with distributed.Client(scheduler) as client, ThreadPoolExecutor(2) as pool:
        sweeps = [pool.submit(sweep) for _ in range(2)]
        kills = 0
        while kills < KILLS and not any(one.done() for one in sweeps):
            client.wait_for_workers(2)
            for worker in [name for name, keys in client.processing().items() if keys][:1]:
                found = client.run(os.getpid, workers=[worker], on_error="ignore")
                for process in found.values():
                    os.kill(process, signal.SIGKILL)
                    kills += 1
        one, two = (each.result() for each in sweeps)
    assert kills == KILLS
    assert {name: timeless(record) for name, record in one.items()} == expected
    assert one == two
    assert given == Counter(expected.keys())
    assert not there.missing(cells[:6])
    assert not list(there.claims.glob("[!.]*"))


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.engines.dask.PATIENCE", 0.1)
    with pytest.raises(BenchError, match=r"tcp://127.0.0.1:9 does not answer"):
        make_engine("dask", 1, "tcp://127.0.0.1:9")


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.engines.dask.find_spec", lambda _: None)
    with pytest.raises(BenchError, match=r"needs the package distributed; .*\[cluster\]"):
        make_engine("dask", 1)
