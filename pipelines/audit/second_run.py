"""A second run of a cell from its spec alone: it finds forged but self-consistent records."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipelines import data
from pipelines.audit.comparison import differences
from pipelines.common.errors import InputError
from pipelines.engines.engine import run_cells
from pipelines.records.files import read_record
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.training.machine import find_device


def draw(files: Iterable[Path]) -> Path | None:
    """Choose at random a file whose record can be run on this machine; None if there is none."""
    files = list(files)
    random.SystemRandom().shuffle(files)
    return next((file for file in files if _runs_here(read_record(file))), None)


def _runs_here(record: RunRecord) -> bool:
    """Whether this machine has the device of a record's spec."""
    try:
        find_device(record.spec.device)
    except InputError:
        return False
    return True


def second_run(record: RunRecord, root: Path) -> list[str]:
    """Run the cell of a record again, and say what differs, one sentence for each difference.

    The second run uses no earlier results. If the cell needs a dense checkpoint (post-training) or
    a parent (control), that is computed again, too.

    Parameters
    ----------
    record
        A record of any status.
    root
        The project's folder; data sets are in its subfolder ``data``.

    Raises
    ------
    BenchError
        If the data cannot be fetched, or the cell cannot be run on this machine.
    """
    spec = record.spec
    data.fetch(spec.settings.data, root / "data")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "records")
        if spec.control:
            (parent,) = run_cells([spec.parent], root / "data", store, "serial", 1)
            if parent.status != "ok":
                return [f"has a parent whose second run is {parent.status}: {parent.message}"]
        (again,) = run_cells([spec], root / "data", store, "serial", 1)
    return differences(record, again)
