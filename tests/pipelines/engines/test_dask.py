"""Dask gives the records of the engine ``serial``, also if workers are killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
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
from tests.helpers.paths import ROOT

dask: Any = pytest.importorskip("dask")
distributed: Any = pytest.importorskip("distributed")

KILLS = 5
#: Commands of SLURM that run a job as processes of this machine; the number of a job is that of its
#: group of processes.
SLURM_COMMANDS = {
    "sbatch": 'cp "$1" "$JOBS.$$"; setsid bash "$JOBS.$$" > /dev/null 2>&1 & '
    'echo "$!" >> "$JOBS"; echo "Submitted batch job $!"',
    "scancel": 'kill -9 -- "-$1"',
}


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


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file with the numbers of the jobs that were submitted to a SLURM of one machine."""
    commands, jobs = tmp_path / "bin", tmp_path / "jobs"
    commands.mkdir()
    jobs.touch()
    for name, lines in SLURM_COMMANDS.items():
        (commands / name).write_text(f"#!/bin/bash\n{lines}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JOBS", str(jobs))
    settings = {"cores": 1, "processes": 1, "memory": "8GB"}
    with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in settings.items()}):
        yield jobs
    for number in jobs.read_text().split():
        with suppress(ProcessLookupError):
            os.killpg(int(number), signal.SIGKILL)


@pytest.mark.slow
def test_workers_are_jobs_of_slurm_and_a_job_that_is_killed_is_replaced(
    cells: list[RunSpec], data_root: Path, tmp_path: Path, jobs: Path
) -> None:
    """The jobs run on this machine; what submits and cancels them is the code for a cluster."""
    serial, there = Store(tmp_path / "serial" / "records"), Store(tmp_path / "slurm" / "records")
    expected = {r.run_id: timeless(r) for r in run_cells(cells[:4], data_root, serial, "serial", 1)}
    engine = Dask(1, "slurm")
    assert engine.waits_for("cpu") == "", "the job has been submitted"
    found: dict[str, RunRecord] = {}
    for record in run_cells(cells[:4], data_root, there, engine, 1, terms=Terms(pause=0)):
        if not found:  # the worker has the next cell by now
            os.killpg(int(jobs.read_text().split()[0]), signal.SIGKILL)
        found[record.run_id] = record
    assert {name: timeless(record) for name, record in found.items()} == expected
    assert len(jobs.read_text().split()) > 1


def test_a_scheduler_without_workers_is_told_how_to_get_one() -> None:
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        make_engine("dask", 1, cluster.scheduler_address) as engine,
    ):
        assert f"dask worker {cluster.scheduler_address}" in engine.waits_for("cpu")
        cluster.scale(1)
        cluster.wait_for_workers(1)
        assert engine.waits_for("cpu") == ""
        assert "with the resource GPU" in engine.waits_for("cuda")


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.engines.dask.PATIENCE", 0.1)
    with pytest.raises(BenchError, match=r"tcp://127.0.0.1:9 does not answer"):
        make_engine("dask", 1, "tcp://127.0.0.1:9")


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.engines.dask.find_spec", lambda _: None)
    with pytest.raises(BenchError, match=r"needs the package distributed; .*\[cluster\]"):
        make_engine("dask", 1)
