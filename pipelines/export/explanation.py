"""The explanation of one run: what died when, what its scores knew, and how its layers fire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.audit.comparison import differences
from pipelines.common.alignment import align
from pipelines.common.errors import InputError
from pipelines.export.removal import Removal, RemovalProbe
from pipelines.export.rerun import rerun
from pipelines.metrics.numbers import MISSING, decimal, percent
from pipelines.records.outcome import LayerCost
from pipelines.records.record import RunRecord
from pipelines.report.analysis.history import History, history, reached
from pipelines.report.charts.history import history_figure
from pipelines.report.charts.vega import Part

#: Number of moments at which units are removed.
MOMENTS = 3


@dataclass(frozen=True)
class Explanation:
    """What is known about one run.

    Parameters
    ----------
    record
        The record of the run.
    history
        Kept units and weights over progress.
    removals
        Correlations of scores and loss increases; empty if the method gives units no scores.
    before
        Layer -> firing rate on validation samples just before the first pruning.
    faults
        In what a second run differs from the record; empty if in nothing.
    """

    record: RunRecord
    history: History
    removals: tuple[Removal, ...]
    before: Mapping[str, float]
    faults: tuple[str, ...]


def explain(root: Path, record: RunRecord) -> Explanation:
    """Run a cell again, and measure what the removal of single units costs at three moments.

    Parameters
    ----------
    root
        The project's folder.
    record
        The record of the run.

    Raises
    ------
    InputError
        If the run has no outcome, or pruned nothing.
    BenchError
        If the second run fails.
    """
    found = history(record)
    if record.outcome is None or found is None:
        why = "pruned nothing" if record.outcome else f"has status {record.status}"
        raise InputError(f"run {record.run_id} {why}, so there is nothing to explain.")
    probe = RemovalProbe(moments_of(record))
    again, _ = rerun(root, record, probe)
    faults = tuple(differences(record, again))
    return Explanation(record, found, tuple(probe.removals), probe.firing_rates, faults)


def moments_of(record: RunRecord) -> tuple[float, ...]:
    """Progress of the first change of the masks, and after one and two thirds of all changes."""
    changes = [moment.progress for moment in record.trajectory.moments]
    places = [len(changes) * i // MOMENTS for i in range(MOMENTS)]
    return tuple(sorted({changes[place] for place in places}))


def explanation_text(one: Explanation) -> str:
    """Write an explanation as text with aligned tables."""
    record, outcome = one.record, one.record.outcome
    assert outcome is not None
    accuracy = outcome.test_accuracy
    split = "test" if accuracy is not None else "validation"
    accuracy = outcome.validation_accuracy if accuracy is None else accuracy
    parts = [
        f"{record.spec.label()}: {split} accuracy {percent(accuracy)} %, density "
        f"{outcome.cost.density:.4f}",
        *(f"The second run differs from the record: it {fault}" for fault in one.faults),
        "Units and weights by layer. First, half, last: progress at which the first, half and the "
        "last\nof those that the run removes were gone.",
        _table(_deaths(one.history)),
        "Firing rate: share of the outputs that are not zero, before the first pruning "
        "(validation) and of\nthe final network (test).",
        _table(_rates(one.before, outcome.cost.layers)),
        _scores(one.removals, record),
    ]
    return "\n\n".join(parts) + "\n"


def explanation_figure(one: Explanation) -> Part:
    """Make the figure of an explanation."""
    return history_figure(
        one.history,
        [removal.correlations for removal in one.removals],
        [removal.progress for removal in one.removals],
        one.record.spec.label(),
    )


def _table(lines: Iterator[list[str]]) -> str:
    return "\n".join("  ".join(line).rstrip() for line in align([*lines]))


def _deaths(found: History) -> Iterator[list[str]]:
    yield ["layer", "what", "all", "kept", "share", "first", "half", "last"]
    for name, sizes in found.size.items():
        for what, lines, size in zip(
            ("units", "weights"), (found.units, found.weights), sizes, strict=True
        ):
            if name not in lines:
                continue
            share = lines[name][-1][1]
            times = [reached(lines[name], part) for part in (1e-9, 0.5, 1.0)]
            kept = [f"{size:,}", f"{round(share * size):,}", decimal(share, 3)]
            yield [name, what, *kept, *(decimal(when, 2) for when in times)]


def _rates(before: Mapping[str, float], after: Mapping[str, LayerCost]) -> Iterator[list[str]]:
    yield ["layer", "density", "fires before", "fires after"]
    for name, layer in after.items():
        if layer.firing_rate is not None:
            rates = [decimal(before.get(name), 3), decimal(layer.firing_rate, 3)]
            yield [name, decimal(layer.density, 3), *rates]


def _scores(removals: Sequence[Removal], record: RunRecord) -> str:
    if not removals:
        if record.spec.granularity == "unstructured":
            return "The run removes single weights, so units have no scores to judge."
        return f"{record.spec.name} gives units no scores, so there is no correlation to show."
    groups = list(removals[0].correlations)
    lines = [["layer", *(f"progress {removal.progress:.2f}" for removal in removals)]]
    for name in groups:
        values = [removal.correlations.get(name) for removal in removals]
        lines.append([name, *(MISSING if v is None else f"{v:+.2f}" for v in values)])
    return (
        "Spearman correlation of the scores with the increase of the validation loss when a unit "
        "is removed\nalone. 1: the method removes what costs least; 0: chance.\n\n"
        + _table(iter(lines))
    )
