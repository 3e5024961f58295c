"""The choice of an engine, the number of workers, and what a sweep keeps when it stops."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from pipelines.common.errors import BenchError
from pipelines.engines.engine import available_cores, default_workers, run_cells
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec


def test_there_is_one_worker_for_each_thread_count_of_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_cores() == 8
    assert [default_workers(threads, "cpu") for threads in (1, 3, 8, 16)] == [8, 2, 1, 1]


def test_a_gpu_has_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert default_workers(1, "cuda") == 1


@pytest.mark.parametrize(("number", "workers"), [(1, 4), (2, 1)])
def test_one_cell_or_one_worker_starts_no_process(
    cells: list[RunSpec], data_root: Path, tmp_path: Path, number: int, workers: int
) -> None:
    before = set(multiprocessing.active_children())
    runs = run_cells(cells[:number], data_root, Store(tmp_path), "processes", workers)
    assert next(runs).status == "ok"
    assert set(multiprocessing.active_children()) <= before


def test_a_full_disk_stops_a_sweep_and_finished_cells_are_kept(
    cells: list[RunSpec], data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    runs = run_cells(cells[:2], data_root, store, "serial", 1)
    next(runs)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BenchError, match="free some space"):
        next(runs)
    assert [record.spec for _, record in store.records()] == cells[:1]


def test_a_folder_that_cannot_be_written_is_found_before_a_cell_trains(
    cells: list[RunSpec], tmp_path: Path
) -> None:
    (tmp_path / "results").touch()
    store = Store(tmp_path / "results" / "records")
    nowhere = tmp_path / "no data, so that no cell can train"
    with pytest.raises(BenchError, match="a folder that you may write to"):
        next(run_cells(cells[:1], nowhere, store, "serial", 1))
