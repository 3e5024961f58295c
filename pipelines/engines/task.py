"""Work that all engines share: one cell, and the checkpoints that cells start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.records.checkpoint import dense_cell
from pipelines.records.outcome import EpochPoint
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.training.cell import run_cell


def run_and_store(
    spec: RunSpec,
    data_root: Path,
    store_root: Path,
    on_epoch: Callable[[EpochPoint], None] | None = None,
) -> RunRecord:
    """Run one cell and write its record at once.

    If the sweep is killed, only the cells that were running at that moment are lost.

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
    record = run_cell(spec, data_root, store.checkpoints, store.parent(spec), on_epoch)
    store.write(record)
    return record


def checkpoint_cells(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """Return one post-training cell for each dense checkpoint that the cells start from."""
    later = [spec for spec in specs if spec.track == "post-training"]
    return list({dense_cell(spec).run_id: spec for spec in later}.values())
