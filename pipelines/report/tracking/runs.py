"""What MLflow is told of a record, and of a method: names, tags, parameters, curves, figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import Metric

from pipelines.common.structs import as_json
from pipelines.records.record import RunRecord
from pipelines.report.charts.confusion import confusion_figure
from pipelines.report.charts.layers import layers_figure
from pipelines.report.charts.vega import draw
from pipelines.report.tables.density_tables import make_tables
from pipelines.report.tables.markdown import table_markdown
from pipelines.report.tables.text import one_line
from pipelines.report.tracking.experiments import Entry, Group

#: What a run has of each epoch.
CURVES = (
    "train_loss",
    "validation_accuracy",
    "validation_loss",
    "density",
    "firing_rate",
    "learning_rate",
)
#: What the parent run of a method has of each of its rows; all are means over seeds.
MEANS = ("accuracy", "gain_over_random", "density", "flops", "synops", "energy_nanojoule")


@dataclass(frozen=True)
class Tracked:
    """One run of MLflow.

    Parameters
    ----------
    name
        What the list of runs shows.
    start, end
        In milliseconds since 1970.
    finished
        Whether it reached a good end.
    tags, parameters, metrics
        As MLflow has them.
    artifacts
        File name -> text.
    """

    name: str
    start: int
    end: int
    finished: bool
    tags: dict[str, str]
    parameters: dict[str, str]
    metrics: list[Metric]
    artifacts: dict[str, str] = field(default_factory=dict)


def track_record(entry: Entry) -> Tracked:
    """Tell of one record."""
    record, spec = entry.record, entry.record.spec
    start, end = _times(record)
    artifacts = {"record.json": entry.path.read_text()}
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
            "processor": record.environment.processor,
            "torch": record.environment.torch,
            "mlflow.note.content": f"{one_line(record)}\n\n{record.message}".strip(),
        },
        parameters={name: str(value) for name, value in _flat(as_json(spec))},
        metrics=[*_curve(record, start), *_final(record, end)],
        artifacts=artifacts,
    )


def track_group(group: Group) -> Tracked:
    """Tell of one method: status counts, and the means of its rows.

    A row with a target density is a point of ``accuracy/GRANULARITY`` whose step is that density in
    thousandths, so that MLflow draws accuracy over density; any other has a metric of its own.
    """
    times = [_times(entry.record) for entry in group.entries]
    start, end = min(first for first, _ in times), max(last for _, last in times)
    metrics = [Metric(f"runs/{name}", n, end, 0) for name, n in group.statuses.items()]
    for row in group.rows:
        numeric = isinstance(row.target, float)
        where = row.granularity if numeric else f"{row.granularity} {row.target}"
        step = round(1000 * row.target) if isinstance(row.target, float) else 0
        for name in MEANS:
            value = getattr(row, name)
            value = value.mean if hasattr(value, "mean") else value
            if value is not None:
                metrics.append(Metric(f"{name}/{where}", value, end, step))
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


def _times(record: RunRecord) -> tuple[int, int]:
    start = round(record.started_at.timestamp() * 1000)
    return start, start + round(record.total_seconds * 1000)


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def _curve(record: RunRecord, start: int) -> Iterator[Metric]:
    """What the epochs came to; their times are those of the points."""
    for epoch, point in enumerate(record.curve, start=1):
        time = start + round(point.seconds * 1000)
        for name in CURVES:
            yield Metric(name, getattr(point, name), time, epoch)


def _final(record: RunRecord, end: int) -> Iterator[Metric]:
    """What came out."""
    found: dict[str, float | None] = {"train_seconds": record.train_seconds}
    if record.outcome is not None:
        cost = record.outcome.cost
        found |= {
            "test_accuracy": record.outcome.test_accuracy,
            "test_loss": record.outcome.test_loss,
            "final_density": cost.density,
            "flops": 2 * cost.macs,
            "parameters": cost.parameters,
            "effective_macs": cost.effective_macs,
            "synops": cost.synops,
            "energy_nanojoule": cost.energy_nanojoule,
        }
        for size, value in cost.latency_milliseconds.items():
            found[f"latency_milliseconds_batch_{size}"] = value
    for name, number in found.items():
        if number is not None:
            yield Metric(name, number, end, 0)
