"""The records of a board: all of them there, and fit to be compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msgspec.structs import replace

from pipelines.common.errors import BenchError
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.records.trajectory import Trajectory
from pipelines.settings.spec import RunSpec


def collect(specs: Sequence[RunSpec], store: Store) -> list[RunRecord]:
    """Records of all cells, without what nothing shows; stray ones in the store are ignored.

    Raises
    ------
    BenchError
        If cells have no record, controls followed a parent that is no longer as it was, or runs
        that are to be compared started from different checkpoints.
    """
    found = [_present(spec, store) for spec in specs]
    missing = [spec.label() for spec, record in zip(specs, found, strict=True) if record is None]
    if missing:
        raise BenchError(
            f"{len(missing)} of {len(specs)} cells have no record (first: {missing[0]}); run "
            "dvc repro, or dpap-bench sweep."
        )
    records = [record for record in found if record is not None]
    _check_starts(records)
    return records


def _present(spec: RunSpec, store: Store) -> RunRecord | None:
    record = store.find(spec)
    return None if record is None or not store.follows(record) else _light(record, spec)


def _light(record: RunRecord, spec: RunSpec) -> RunRecord:
    """Leave out what nothing shows, and share the spec: thousands of records fit into memory."""
    outcome = record.outcome
    if outcome is not None:
        cost = outcome.cost
        if spec.control or spec.twin_of:  # cards show the layers of all others
            cost = replace(cost, layers={})
        outcome = replace(outcome, cost=cost, confusion=None)
    shared = spec if record.spec == spec else record.spec
    return replace(record, spec=shared, outcome=outcome, trajectory=Trajectory())


def _check_starts(records: Sequence[RunRecord]) -> None:
    """Raise BenchError unless all runs of a workload and seed began with one checkpoint."""
    starts: dict[tuple[str, int], set[str]] = defaultdict(set)
    for record in records:
        if record.checkpoint:
            starts[record.spec.workload, record.spec.seed].add(record.checkpoint)
    for (workload, seed), hashes in starts.items():
        if len(hashes) > 1:
            raise BenchError(
                f"post-training runs of {workload} seed {seed} started from {len(hashes)} "
                "different checkpoints; run dpap-bench sweep, which repeats those of another start."
            )
