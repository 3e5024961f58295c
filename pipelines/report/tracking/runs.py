"""The MLflow runs of a record and of a method: name, tags, parameters, metrics, artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import Metric as Point

from pipelines.common.structs import as_json
from pipelines.metrics.table import METRICS
from pipelines.records.outcome import EpochPoint
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import Row
from pipelines.report.charts.confusion import confusion_figure
from pipelines.report.charts.layers import layers_figure
from pipelines.report.charts.vega import draw
from pipelines.report.formats.markdown import table_markdown
from pipelines.report.tables.density import make_tables
from pipelines.report.tables.run_line import one_line
from pipelines.report.tracking.experiments import Entry, Group
from pipelines.settings.spec import RunSpec

#: Fields of an epoch that a run shows as curves.
CURVES = (
    "train_loss",
    "validation_accuracy",
    "validation_loss",
    "density",
    "firing_rate",
    "learning_rate",
)


@dataclass(frozen=True)
class Tracked:
    """The content of one MLflow run.

    Parameters
    ----------
    name
        Name in the list of runs.
    start, end
        In milliseconds since 1970.
    finished
        Whether MLflow shows the run as FINISHED, not as FAILED.
    tags, parameters, metrics
        As in MLflow.
    artifacts
        File name -> text.
    """

    name: str
    start: int
    end: int
    finished: bool
    tags: dict[str, str]
    parameters: dict[str, str]
    metrics: list[Point]
    artifacts: dict[str, str] = field(default_factory=dict)


def track_record(entry: Entry) -> Tracked:
    """Make the run of one record: curves by epoch, final metrics, its spec and its file."""
    record, spec = entry.record, entry.record.spec
    environment = record.environment
    start, end = _times(record)
    artifacts = {"record.json": record.to_json()}
    if record.outcome is not None:
        figure = layers_figure(record.outcome.cost, spec.label())
        artifacts["layers.svg"] = draw(figure)
        if record.outcome.confusion is not None:
            matrix = confusion_figure(record.outcome.confusion, spec.label())
            artifacts["confusion.svg"] = draw(matrix)
    return Tracked(
        name=entry.name,
        start=start,
        end=end,
        finished=record.status == "ok",
        tags={
            "kind": "run",
            "folder": entry.folder,
            "status": record.status,
            "message": record.message,
            "code_digest": record.code_digest,
            "processor": environment.processor if environment else "unknown",
            "torch": environment.torch if environment else "unknown",
            "mlflow.note.content": f"{one_line(record)}\n\n{record.message}".strip(),
        },
        parameters=spec_parameters(spec),
        metrics=[*_curve(record, start), *_final(record, end)],
        artifacts=artifacts,
    )


def track_group(group: Group) -> Tracked:
    """Make the parent run of one method: status counts, and the means of its rows.

    A row with a target density is a point of ``accuracy/GRANULARITY`` whose step is that density in
    thousandths, so that MLflow draws accuracy over density. Any other row has a metric of its own.
    """
    times = [_times(entry.record) for entry in group.entries]
    start, end = min(first for first, _ in times), max(last for _, last in times)
    metrics = [Point(f"runs/{name}", n, end, 0) for name, n in group.statuses.items()]
    for row in group.rows:
        numeric = isinstance(row.target, float)
        where = row.granularity if numeric else f"{row.granularity} {row.target}"
        step = round(1000 * row.target) if isinstance(row.target, float) else 0
        metrics += [Point(f"{name}/{where}", mean, end, step) for name, mean in _means(row)]
    tables = make_tables(group.rows)
    return Tracked(
        name=group.name,
        start=start,
        end=end,
        finished=set(group.statuses) == {"ok"},
        tags={
            "kind": "method",
            "status": ", ".join(f"{n} {name}" for name, n in group.statuses.items()),
            "mlflow.note.content": "\n".join(
                f"**{table.title}**\n\n{table_markdown(table)}" for table in tables
            ),
        },
        parameters={"workload": group.workload, "track": group.track, "method": group.method},
        metrics=metrics,
    )


def spec_parameters(spec: RunSpec) -> dict[str, str]:
    """Return every field of a spec, with the names of nested fields joined by dots."""
    return {name: str(value) for name, value in _flat(as_json(spec))}


def epoch_points(point: EpochPoint, epoch: int, start: int) -> list[Point]:
    """Return the points of the curves after one epoch, at the time of the epoch.

    Parameters
    ----------
    point
        The epoch.
    epoch
        Its number, from 1.
    start
        Start of the run, in milliseconds since 1970.
    """
    time = start + round((point.seconds or 0) * 1000)
    return [Point(name, getattr(point, name), time, epoch) for name in CURVES]


def _times(record: RunRecord) -> tuple[int, int]:
    """Return start and end in milliseconds since 1970; a run of unknown time starts at 0."""
    start = round(record.started_at.timestamp() * 1000) if record.started_at else 0
    return start, start + round((record.total_seconds or 0) * 1000)


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def _curve(record: RunRecord, start: int) -> Iterator[Point]:
    for epoch, point in enumerate(record.curve, start=1):
        yield from epoch_points(point, epoch, start)


def _final(record: RunRecord, end: int) -> Iterator[Point]:
    """Every metric of a finished run; the name of a curve is taken."""
    for name, metric in METRICS.items():
        value = metric.read(record)
        if value is not None:
            yield Point(f"final_{name}" if name in CURVES else name, value, end, 0)


def _means(row: Row) -> Iterator[tuple[str, float]]:
    """Accuracy, gain over random pruning, and every metric that has a column in the tables."""
    for name, found in {"accuracy": row.accuracy, "gain_over_random": row.gain_over_random}.items():
        if found is not None:
            yield name, found.mean
    for name, mean in row.means.items():
        if mean is not None and METRICS[name].column:
            yield name, mean
