"""Several processes give the records of one; a killed worker stops the sweep in one sentence."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch

from pipelines.audit.comparison import timeless
from pipelines.common.errors import BenchError
from pipelines.engines.engine import run_cells
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


def test_a_killed_worker_stops_the_sweep_and_finished_cells_are_kept(
    cells: list[RunSpec], data_root: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    others = set(multiprocessing.active_children())
    runs = run_cells(cells, data_root, store, "processes", 2)
    first = next(runs)
    workers = set(multiprocessing.active_children()) - others
    assert len(workers) == 2
    for worker in workers:
        worker.kill()
    with pytest.raises(BenchError, match=r"was killed .* finished cells are kept") as stopped:
        list(runs)
    assert "\n" not in str(stopped.value)
    assert store.find(first.spec) == first
    left = store.missing(cells)
    assert left
    assert first.spec not in left
