"""The records of a board: reads them, and checks that they may be compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msgspec.structs import replace

from pipelines.common.errors import BenchError
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.records.trajectory import Trajectory
from pipelines.settings.spec import RunSpec


def collect(specs: Sequence[RunSpec], store: Store, *, partial: bool = False) -> list[RunRecord]:
    """Read the records of all cells, without the parts that the report does not show.

    Records of other cells in the store are ignored.

    Parameters
    ----------
    specs
        The cells.
    store
        Where their records are.
    partial
        Whether cells may have no record.

    Raises
    ------
    BenchError
        If a cell has no record, if the records were made under several versions of the rules, if a
        control followed an older run of its parent, or if runs of one workload and seed started
        from different checkpoints.
    """
    shown = _shown(specs)
    found = [_present(spec, store, whole=id(spec) in shown) for spec in specs]
    missing = [spec.label() for spec, record in zip(specs, found, strict=True) if record is None]
    if missing and not partial:
        raise BenchError(
            f"{len(missing)} of {len(specs)} runs have no record (first: {missing[0]}); run "
            "dvc repro, or dpap-bench sweep."
        )
    records = [record for record in found if record is not None]
    _check_rules(records)
    _check_starts(records)
    return records


def _shown(specs: Sequence[RunSpec]) -> set[int]:
    """Identities of the cells whose trajectory the cards show; a run id would cost a hash.

    One run for each method, granularity, workload and track: that of the smallest target density
    and the first seed.
    """
    first: dict[tuple[str, ...], RunSpec] = {}
    for spec in specs:
        if spec.control or spec.matched_to:
            continue
        key = (spec.workload, spec.track, spec.name, spec.granularity)
        if key not in first or _order(spec) < _order(first[key]):
            first[key] = spec
    return {id(spec) for spec in first.values()}


def _order(spec: RunSpec) -> tuple[float, int]:
    return 2.0 if isinstance(spec.density, str) else spec.density, spec.seed


def _present(spec: RunSpec, store: Store, *, whole: bool) -> RunRecord | None:
    record = store.find(spec)
    return None if record is None or not store.follows(record) else _light(record, spec, whole)


def _light(record: RunRecord, spec: RunSpec, whole: bool) -> RunRecord:
    """Drop what is not shown and share the spec, so that thousands of records fit in memory."""
    outcome = record.outcome
    if outcome is not None:
        cost = outcome.cost
        if spec.control:  # controls are columns: their costs are not shown
            cost = replace(cost, layers={})
        # Of the confusion matrix, only its sum is used: the size of a test split of the user's own.
        items = sum(map(sum, outcome.confusion or ()))
        outcome = replace(outcome, cost=cost, confusion=[[items]] if items else None)
    shared = spec if record.spec == spec else record.spec
    trajectory = record.trajectory if whole else Trajectory()
    return replace(record, spec=shared, outcome=outcome, trajectory=trajectory)


def _check_rules(records: Sequence[RunRecord]) -> None:
    """Raise BenchError unless all records were made under the same version of the rules."""
    versions = sorted({record.rules_version for record in records})
    if len(versions) > 1:
        raise BenchError(
            f"the records were made under versions {', '.join(map(str, versions))} of the rules; "
            "run dpap-bench sweep, which computes those of older versions again."
        )


def _check_starts(records: Sequence[RunRecord]) -> None:
    """Raise BenchError unless all runs of a workload and seed started from one checkpoint."""
    starts: dict[tuple[str, int], set[str]] = defaultdict(set)
    for record in records:
        if record.checkpoint:
            starts[record.spec.workload, record.spec.seed].add(record.checkpoint)
    for (workload, seed), hashes in starts.items():
        if len(hashes) > 1:
            raise BenchError(
                f"post-training runs of {workload} seed {seed} started from {len(hashes)} "
                "different checkpoints; run dpap-bench sweep, which repeats the outdated runs."
            )
