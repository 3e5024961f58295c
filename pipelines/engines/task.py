"""Work that all engines share: one cell, and the checkpoints that cells start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.records.checkpoint import dense_cell
from pipelines.records.outcome import EpochPoint
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.training.cell import make_start, run_cell
from pipelines.training.resume import Resume, Signals


def run_and_store(
    spec: RunSpec,
    data_root: Path,
    store_root: Path,
    on_epoch: Callable[[EpochPoint], None] | None = None,
) -> RunRecord:
    """Run one cell and write its record at once.

    A cell that was interrupted goes on from its resume point, which is deleted when the record is
    written.

    Parameters
    ----------
    spec
        The cell.
    data_root
        Folder of fetched data sets.
    store_root
        Folder of the store.
    on_epoch
        Called after each epoch; see `pipelines.training.cell.run_cell`.

    Raises
    ------
    BenchError
        If the record cannot be written.
    """
    store = Store(store_root)
    with Signals() as signals:
        resume = Resume(store.resume_point(spec), signals)
        parent = store.parent(spec)
        record = run_cell(spec, data_root, store.checkpoints, parent, on_epoch, resume)
        store.write(record)
        resume.remove()
    return record


def make_and_store_start(spec: RunSpec, data_root: Path, store_root: Path) -> None:
    """Train the dense checkpoint that a post-training cell starts from, unless it exists."""
    store = Store(store_root)
    with Signals() as signals:
        resume = Resume(store.resume_point(spec), signals)
        make_start(spec, data_root, store.checkpoints, resume)


def checkpoint_cells(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """Return one post-training cell for each dense checkpoint that the cells start from."""
    later = [spec for spec in specs if spec.track == "post-training"]
    return list({dense_cell(spec).run_id: spec for spec in later}.values())
