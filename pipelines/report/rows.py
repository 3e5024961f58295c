"""From records to rows: one row per workload, granularity, method and target density."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.core.errors import BenchError
from pipelines.core.record import RunRecord
from pipelines.core.spec import EMERGENT, RANDOM, RunSpec
from pipelines.core.store import Store
from pipelines.report.stats import Estimate, estimate, paired_difference

#: Seeds that a row needs to be listed, and to be ranked (RULES.md).
LISTED, RANKED = 3, 5
REFERENCE = "dense"
#: In the order of tables and panels: what dense hardware gains from comes first.
GRANULARITIES = ("none", "structured", "hybrid", "unstructured", "spatio-temporal")


#: Workload, track, granularity, method, target.
_Key = tuple[str, str, str, str, float | str]


@dataclass(frozen=True)
class Row:
    """One line of a table: means over the seeds whose status is ok."""

    workload: str
    track: str
    granularity: str
    method: str
    target: float | str
    statuses: dict[str, int]
    accuracy: Estimate | None
    drop: Estimate | None
    gain_over_random: Estimate | None
    gain_over_shuffled: Estimate | None
    gain_over_reinit: Estimate | None
    density: float | None
    parameters: float | None
    flops: float | None
    effective_macs: float | None
    synops: float | None
    timestep_sparsity: float | None
    energy_nanojoule: float | None
    train_seconds: float | None
    samples_per_second: float | None
    latency_milliseconds: float | None

    @property
    def is_reference(self) -> bool:
        """Whether this is the unpruned network."""
        return self.method == REFERENCE


def collect(specs: Sequence[RunSpec], store: Store) -> list[RunRecord]:
    """Records of all cells; stray records in the store are ignored.

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
    return record if record is None or store.follows(record) else None


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


def make_rows(records: Sequence[RunRecord]) -> list[Row]:
    """Group records into rows: reference first, then by density, best accuracy first.

    Controls are no rows of their own: they are what their parents' rows are compared with.
    """
    groups: dict[str, dict[_Key, list[RunRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        spec = record.spec
        key: _Key = (spec.workload, spec.track, spec.granularity, spec.name, _target(spec))
        groups[spec.control][key].append(record)
    accuracies = {
        control: {key: _accuracies(group) for key, group in found.items()}
        for control, found in groups.items()
    }
    rows = []
    for key, group in groups[""].items():
        workload, track, granularity, method, target = key
        same = f"as {method}" if target == EMERGENT else target
        random = (workload, track, granularity, RANDOM, same)
        others = {
            "dense": accuracies[""].get((workload, track, "none", REFERENCE, 1.0), {}),
            "random": {} if method == RANDOM else accuracies[""].get(random, {}),
            "shuffled": accuracies.get("shuffled", {}).get(key, {}),
            "reinit": accuracies.get("reinit", {}).get(key, {}),
        }
        rows.append(_row(key, group, accuracies[""][key], others))
    order = {name: i for i, name in enumerate(dict.fromkeys(r.spec.workload for r in records))}
    return sorted(rows, key=lambda row: _sort_key(row, order))


def _target(spec: RunSpec) -> float | str:
    """What density was asked for: a number, ``emergent``, or ``as METHOD`` for its twins."""
    return f"as {spec.twin_of}" if spec.twin_of else spec.density


def _sort_key(row: Row, workloads: dict[str, int]) -> tuple[object, ...]:
    emergent = isinstance(row.target, str)
    density = 0.0 if isinstance(row.target, str) else row.target
    accuracy = row.accuracy.mean if row.accuracy else -1.0
    return (
        workloads[row.workload],
        row.track,
        not row.is_reference,
        GRANULARITIES.index(row.granularity),
        emergent,
        -density,
        -accuracy,
        row.method,
    )


def _accuracies(records: Sequence[RunRecord]) -> dict[int, float]:
    found = {r.spec.seed: r.outcome for r in records if r.status == "ok" and r.outcome}
    return {seed: o.test_accuracy for seed, o in found.items() if o.test_accuracy is not None}


def _row(
    key: _Key,
    records: Sequence[RunRecord],
    accuracies: dict[int, float],
    others: dict[str, dict[int, float]],
) -> Row:
    workload, track, granularity, method, target = key
    good = [r for r in records if r.status == "ok" and r.outcome]
    costs = [r.outcome.cost for r in good if r.outcome]
    one_machine = len({(r.environment.processor, r.environment.device) for r in good}) == 1

    def mean(values: Sequence[float]) -> float | None:
        return fmean(values) if values else None

    def timed(value: Callable[[RunRecord], float]) -> float | None:
        return mean([value(r) for r in good]) if one_machine else None

    return Row(
        workload=workload,
        track=track,
        granularity=granularity,
        method=method,
        target=target,
        statuses=dict(sorted(Counter(r.status for r in records).items())),
        accuracy=estimate(list(accuracies.values())),
        drop=None if method == REFERENCE else paired_difference(others["dense"], accuracies),
        gain_over_random=paired_difference(accuracies, others["random"]),
        gain_over_shuffled=paired_difference(accuracies, others["shuffled"]),
        gain_over_reinit=paired_difference(accuracies, others["reinit"]),
        density=mean([c.density for c in costs]),
        parameters=mean([c.parameters for c in costs]),
        flops=mean([2 * c.macs for c in costs]),
        effective_macs=mean([c.effective_macs for c in costs]),
        synops=mean([c.synops for c in costs]),
        timestep_sparsity=mean([c.timestep_sparsity for c in costs]),
        energy_nanojoule=mean([c.energy_nanojoule for c in costs]),
        train_seconds=timed(lambda r: r.train_seconds),
        samples_per_second=timed(lambda r: sum(r.spent.values()) / r.train_seconds),
        latency_milliseconds=timed(
            lambda r: r.outcome.cost.latency_milliseconds[1] if r.outcome else 0.0
        ),
    )
