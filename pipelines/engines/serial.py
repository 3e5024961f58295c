"""The engine ``serial``: one cell after another, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.engines.task import run_and_store
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec


def run(
    specs: Sequence[RunSpec], data_root: Path, store: Store, workers: int
) -> Iterator[RunRecord]:
    """Run cells and yield their records, as `pipelines.engines.engine.run_cells` describes."""
    del workers
    for spec in specs:
        yield run_and_store(spec, data_root, store.root)
