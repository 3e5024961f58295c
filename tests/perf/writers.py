"""A process that writes many records; it is started without importing torch."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from pipelines.records.record import RunRecord
from pipelines.records.store import Store


def write_many(root: Path, model: RunRecord, seeds: range) -> None:
    """Write a record of each seed, and of no other."""
    store = Store(root)
    for seed in seeds:
        spec = replace(model.spec, seed=seed)
        store.write(replace(model, spec=spec, run_id=spec.run_id))
