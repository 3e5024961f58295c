"""The rows of a board: one per workload, track, granularity, method and target density."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from pipelines.data.catalogue import SOURCES
from pipelines.metrics.metric import Metric
from pipelines.metrics.table import ACCURACY, METRICS
from pipelines.records.record import RunRecord
from pipelines.report.analysis.time_to_target import TimeToTarget, target_of, time_to_target
from pipelines.report.statistics.scores import Correct, Scores, difference, estimate_of
from pipelines.report.statistics.stats import Estimate
from pipelines.settings.layout import parse_layout
from pipelines.settings.network import READOUT
from pipelines.settings.spec import EMERGENT, RANDOM, RunSpec

#: Seeds that a row needs to be listed, and to be ranked (RULES.md).
LISTED, RANKED = 3, 5
REFERENCE = "dense"
#: The method that any other has to beat besides random pruning.
MAGNITUDE = "magnitude"
#: In the order of tables and panels: first what makes dense hardware faster.
GRANULARITIES = ("none", "structured", "hybrid", "unstructured", "spatio-temporal")


#: Workload, track, granularity, method, target.
RowKey = tuple[str, str, str, str, float | str]


@dataclass(frozen=True)
class Row:
    """One line of a table: means over the seeds whose status is ok.

    Parameters
    ----------
    accuracies
        Test accuracy by seed.
    accuracy
        Its mean and interval.
    drop, gain_over_random, gain_over_magnitude, gain_over_shuffled, gain_over_reinit
        Differences of accuracy, paired by seed.
    means
        Mean of every other metric by name, in the order of `pipelines.metrics.table.METRICS`; None
        where no run has the metric.
    time_to_target
        Training until the target accuracy; None without runs or target.
    rank
        1 + the number of better rows at the same density that are separated from this row; None
        with too few seeds, or before `pipelines.report.analysis.comparisons.ranked`.
    missing, missing_controls
        Number of runs, and of their controls, that the board asks for and that have no record.
    layer_densities, widths
        Layer -> mean over the runs of its final density, in [0, 1], and of its number of units
        after physical removal; without the readout, and widths without projection shortcuts.
    synops_target
        Target SynOps per sample of a row whose target is a number of SynOps; else None.
    correct
        The test items that the runs had right; None if some record does not say it. JSON and CSV
        leave it out.
    """

    workload: str
    track: str
    granularity: str
    method: str
    target: float | str
    statuses: dict[str, int]
    accuracies: dict[int, float]
    accuracy: Estimate | None
    drop: Estimate | None
    gain_over_random: Estimate | None
    gain_over_magnitude: Estimate | None
    gain_over_shuffled: Estimate | None
    gain_over_reinit: Estimate | None
    means: dict[str, float | None]
    time_to_target: TimeToTarget | None
    rank: int | None = None
    missing: int = 0
    missing_controls: int = 0
    layer_densities: dict[str, float] = field(default_factory=dict)
    widths: dict[str, float] = field(default_factory=dict)
    synops_target: float | None = None
    correct: Correct | None = field(default=None, repr=False, compare=False)

    @property
    def scores(self) -> Scores:
        """Accuracies by seed, and the items that were right."""
        return Scores(self.accuracies, self.correct)

    @property
    def key(self) -> RowKey:
        """What tells the row from other rows of the board."""
        return self.workload, self.track, self.granularity, self.method, self.target

    @property
    def is_reference(self) -> bool:
        """Whether this is the unpruned network."""
        return self.method == REFERENCE

    @property
    def asked(self) -> int:
        """Number of runs that the board asks for."""
        return self.missing + sum(self.statuses.values())

    @property
    def density_group(self) -> float | str:
        """Rows of one group have the same density: the target, or ``as METHOD``."""
        return f"as {self.method}" if self.target == EMERGENT else self.target


def make_rows(records: Sequence[RunRecord], absent: Sequence[RunSpec] = ()) -> list[Row]:
    """Group records into rows: the dense network first, then by density, best accuracy first.

    Controls have no rows of their own: the rows of their parents are compared with them.

    Parameters
    ----------
    records
        Of a board.
    absent
        Runs that have no record. They are counted in their rows; a row may have no record at all.
    """
    groups: dict[str, dict[RowKey, list[RunRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record.spec.control][row_key(record.spec)].append(record)
    missing = Counter(row_key(spec) for spec in absent if not spec.control)
    missing_controls = Counter(row_key(spec) for spec in absent if spec.control)
    for key in (*missing, *missing_controls):
        groups[""].setdefault(key, [])
    scores = {
        control: {key: _scores(group) for key, group in found.items()}
        for control, found in groups.items()
    }
    none = Scores({})
    synops = {row_key(s): s.synops for s in (*(r.spec for r in records), *absent)}
    rows = []
    for key, group in groups[""].items():
        workload, track, _, method, target = key
        same = f"as {method}" if target == EMERGENT else target
        dense = (workload, track, "none", REFERENCE, 1.0)
        others = {
            name: none if method == name else scores[""].get((*key[:3], name, same), none)
            for name in (RANDOM, MAGNITUDE)
        }
        others[REFERENCE] = scores[""].get(dense, none)
        for control in ("shuffled", "reinit"):
            others[control] = scores.get(control, {}).get(key, none)
        goal = target_of(groups[""].get(dense, ()))
        row = _row(key, group, scores[""][key], others, goal)
        rows.append(
            replace(
                row,
                missing=missing[key],
                missing_controls=missing_controls[key],
                synops_target=synops[key],
            )
        )
    workloads = dict.fromkeys([*(r.spec.workload for r in records), *(s.workload for s in absent)])
    order = {name: i for i, name in enumerate(workloads)}
    return sorted(rows, key=lambda row: _sort_key(row, order))


def row_key(spec: RunSpec) -> RowKey:
    """Return the key of the row that a run, or the parent of a control, belongs to."""
    return spec.workload, spec.track, spec.granularity, spec.name, _target(spec)


def _target(spec: RunSpec) -> float | str:
    """Target: a density, ``emergent``, ``20000 SynOps``, or ``as METHOD`` for a matched run."""
    return f"as {spec.matched_to}" if spec.matched_to else spec.aim


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
        -(row.synops_target or 0.0),
        -accuracy,
        row.method,
    )


def _scores(records: Sequence[RunRecord]) -> Scores:
    """Results of the runs that are ok."""
    found = [(r, ACCURACY.read(r)) for r in records if r.status == "ok"]
    accuracies = {r.spec.seed: accuracy for r, accuracy in found if accuracy is not None}
    return Scores(accuracies, _correct([r for r, accuracy in found if accuracy is not None]))


def _correct(records: Sequence[RunRecord]) -> Correct | None:
    """Collect the items that were right; None if a record does not say it."""
    if not records:
        return None
    items = _test_samples(records)
    if items is None:
        return None
    packed = {}
    for record in records:
        text = record.outcome.correct if record.outcome else None
        bits = b"" if text is None else b64decode(text)
        if len(bits) != (items + 7) // 8:
            return None
        packed[record.spec.seed] = bits
    return Correct(packed, items)


def _test_samples(records: Sequence[RunRecord]) -> int | None:
    """Number of test samples; that of a data set of the user's own is in its confusion matrix."""
    source = SOURCES.get(records[0].spec.settings.data)
    if source is not None:
        return source.size.test
    found = {
        sum(map(sum, record.outcome.confusion))
        for record in records
        if record.outcome and record.outcome.confusion
    }
    return found.pop() if len(found) == 1 else None


def of_one_machine(records: Sequence[RunRecord]) -> bool:
    """Whether all records have times, and come from one machine."""
    found = {
        (r.environment.processor, r.environment.device) if r.environment else None for r in records
    }
    return len(found) == 1 and None not in found


def _row(
    key: RowKey,
    records: Sequence[RunRecord],
    scores: Scores,
    others: dict[str, Scores],
    goal: float | None,
) -> Row:
    workload, track, granularity, method, target = key
    good = [r for r in records if r.status == "ok" and r.outcome]
    one_machine = of_one_machine(good)
    return Row(
        workload=workload,
        track=track,
        granularity=granularity,
        method=method,
        target=target,
        statuses=dict(sorted(Counter(r.status for r in records).items())),
        accuracies=dict(scores.accuracies),
        correct=scores.correct,
        accuracy=estimate_of([(1.0, scores)]),
        drop=None if method == REFERENCE else difference(others[REFERENCE], scores),
        gain_over_random=difference(scores, others[RANDOM]),
        gain_over_magnitude=difference(scores, others[MAGNITUDE]),
        gain_over_shuffled=difference(scores, others["shuffled"]),
        gain_over_reinit=difference(scores, others["reinit"]),
        means={
            name: _mean(metric, good) if one_machine or not metric.one_machine else None
            for name, metric in METRICS.items()
            if metric is not ACCURACY
        },
        time_to_target=time_to_target(good, goal, one_machine),
        layer_densities=_means_of_layers([layer_densities(r) for r in good]),
        widths=_means_of_layers([widths(r) for r in good]),
    )


def layer_densities(record: RunRecord) -> dict[str, float]:
    """Final density of each layer of a run, the readout left out."""
    layers = record.outcome.cost.layers if record.outcome else {}
    return {name: layer.density for name, layer in layers.items() if name != READOUT}


def widths(record: RunRecord) -> dict[str, float]:
    """Units of each layer with neurons after physical removal; empty if the layout has none."""
    if record.outcome is None:
        return {}
    layers = record.outcome.cost.layers.items()
    names = [name for name, layer in layers if layer.firing_rate is not None]
    try:
        tokens = parse_layout(record.outcome.layout)
    except ValueError:  # a record from somebody else
        return {}
    sizes = [float(token.size) for token in tokens if token.kind in ("conv", "fc")]
    return dict(zip(names, sizes, strict=True)) if len(names) == len(sizes) else {}


def _means_of_layers(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean by layer, if all runs have the same layers."""
    if not found or any(one.keys() != found[0].keys() for one in found):
        return {}
    return {name: fmean(one[name] for one in found) for name in found[0]}


def _mean(metric: Metric, records: Sequence[RunRecord]) -> float | None:
    found = [value for record in records if (value := metric.read(record)) is not None]
    return fmean(found) if found else None
