"""A second run of a cell, from nothing but its spec: the proof that nobody can edit."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipelines import data
from pipelines.audit.faults import differences
from pipelines.common.errors import InputError
from pipelines.engines.engine import run_cells
from pipelines.records.record import RunRecord, read_record
from pipelines.records.store import Store
from pipelines.training.machine import find_device


def draw(files: Iterable[Path]) -> Path | None:
    """Choose a record at random among those that can be run here; None if there is none."""
    files = list(files)
    random.SystemRandom().shuffle(files)
    return next((file for file in files if _runs_here(read_record(file))), None)


def _runs_here(record: RunRecord) -> bool:
    try:
        find_device(record.spec.device)
    except InputError:
        return False
    return True


def second_run(record: RunRecord, root: Path) -> list[str]:
    """Run the cell of a record again, and say what differs.

    What it starts from is made anew too: the dense checkpoint of a post-training cell, the
    parent of a control.

    Parameters
    ----------
    record
        Of any status.
    root
        The project's folder, for the data.

    Raises
    ------
    BenchError
        If the data cannot be had, or the cell cannot be run here.
    """
    spec = record.spec
    data.fetch(spec.settings.data, root / "data")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "records")
        if spec.control:
            (parent,) = run_cells([spec.parent], root / "data", store, "serial", 1)
            if parent.status != "ok":
                return [f"has a parent that a second run finds {parent.status}: {parent.message}"]
        (again,) = run_cells([spec], root / "data", store, "serial", 1)
    return differences(record, again)
