"""Several processes give the records of one; the cell of a killed worker is computed again."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch

from pipelines.audit.comparison import timeless
from pipelines.engines.engine import Terms, run_cells
from pipelines.engines.processes import Processes
from pipelines.engines.task import Task
from pipelines.records.digest import code_digest
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec


@pytest.mark.slow
def test_serial_and_processes_give_the_same_records(
    cells: list[RunSpec], data_root: Path, tmp_path: Path
) -> None:
    """The state of the global random generator has no influence."""
    serial, processes = Store(tmp_path / "serial"), Store(tmp_path / "processes")
    torch.manual_seed(1)
    first = {r.run_id: r for r in run_cells(cells, data_root, serial, "serial", 1)}
    torch.manual_seed(2)
    again = {r.run_id: r for r in run_cells(cells, data_root, processes, "processes", 2)}
    assert first.keys() == again.keys() == {cell.run_id for cell in cells}
    for run_id, record in first.items():
        assert timeless(record) == timeless(again[run_id]), record.spec.label()
        assert record.status in ("ok", "off-target"), record.message
        assert serial.find(record.spec) == record
        assert processes.find(record.spec) == again[run_id]
    assert not serial.missing(cells)
    assert not processes.missing(cells)


@pytest.mark.slow
def test_the_cells_of_killed_workers_are_computed_again(
    cells: list[RunSpec], data_root: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "records")
    others = set(multiprocessing.active_children())
    runs = run_cells(cells[:3], data_root, store, "processes", 2, terms=Terms(pause=0))
    first = next(runs)
    workers = set(multiprocessing.active_children()) - others
    assert len(workers) == 2
    for worker in workers:
        worker.kill()
    assert {first.run_id, *(record.run_id for record in runs)} == {s.run_id for s in cells[:3]}
    assert store.find(first.spec) == first
    assert not store.missing(cells[:3])
    assert not list(store.claims.glob("[!.]*"))


@pytest.mark.slow
def test_a_killed_worker_takes_no_other_cell_with_it(
    cells: list[RunSpec], data_root: Path, tmp_path: Path
) -> None:
    root, others = tmp_path / "records", set(multiprocessing.active_children())
    killed, kept = (Task(spec, data_root, root, code_digest(spec)) for spec in cells[:2])
    with Processes(2) as engine:
        lost = engine.submit(killed)
        (worker,) = set(multiprocessing.active_children()) - others
        other = engine.submit(kept)
        worker.kill()
        assert isinstance(lost.exception(), engine.lost)
        record = other.result()
        assert record is not None
        assert record.spec == kept.spec
        again = engine.submit(killed).result()
    assert again is not None
    assert again.spec == killed.spec
