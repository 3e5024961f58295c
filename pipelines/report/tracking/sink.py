"""MLflow as a sink: a tracking store can be rebuilt from the records at any time."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pipelines.metrics.table import ACCURACY, METRICS
from pipelines.report.tracking.experiments import Experiment

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from pipelines.report.tracking.runs import Tracked

#: Tags that identify a run: its key, the checksum of its content, its parent run.
_KEY, _DIGEST, _PARENT = "dpap_bench.key", "dpap_bench.sha256", "mlflow.parentRunId"
#: Part of every checksum: all runs are rewritten after a change of the format or of the metrics.
_FORMAT = f"3 {sha256(' '.join(METRICS).encode()).hexdigest()[:12]}"
#: How MLflow shows an experiment: as training runs, with this metric first.
_SHOWN = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": ACCURACY.name,
    "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
}


@dataclass(frozen=True)
class _Wanted:
    """A run that should exist; `parent` is the key of the run that it is nested in."""

    digest: str
    tracked: Callable[[], Tracked]
    parent: str = ""


def synchronize(
    experiments: Sequence[Experiment], uri: str, artifacts: Path | None = None
) -> dict[str, int]:
    """Make the runs of a tracking store equal to the records.

    A new record becomes a run, a changed record replaces its run, and the run of a deleted record
    is deleted. A run that was incomplete when a synchronisation stopped is written again. Runs from
    elsewhere are kept.

    Parameters
    ----------
    experiments
        Experiments that should exist.
    uri
        MLflow tracking URI.
    artifacts
        Folder for the artifacts of new experiments; None for that of the tracking server.

    Returns
    -------
    dict
        Number of runs ``added``, ``replaced``, ``deleted`` and ``unchanged``, with the parent run
        of each method.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):  # which report every table that they create
        logging.getLogger(name).setLevel(logging.WARNING)
    _write_quickly()
    client = MlflowClient(tracking_uri=uri)
    wanted = {experiment.name: _wanted(experiment) for experiment in experiments}
    digests = {key: run.digest for runs in wanted.values() for key, run in runs.items()}
    # First, since a deleted experiment is restored with its runs.
    homes = {e.name: _experiment(client, e, artifacts) for e in experiments}
    present: dict[str, Run] = {}
    gone: list[str] = []
    for key, run in list(_present(client)):
        whole = run.info.status != "RUNNING" and run.data.tags[_DIGEST] == digests.get(key)
        if whole and key not in present:
            present[key] = run
        else:
            _delete(client, run)
            gone.append(key)
    for experiment in experiments:
        home, runs = homes[experiment.name], wanted[experiment.name]
        _describe(client, home, experiment, _write(client, home, runs, present))
    replaced = len(set(gone) & (digests.keys() - present.keys()))
    return {
        "added": len(digests) - len(present) - replaced,
        "replaced": replaced,
        "deleted": len(gone) - replaced,
        "unchanged": len(present),
    }


@cache
def _write_quickly() -> None:
    """Do not let SQLite wait for the disk after each small write: the store can be rebuilt."""
    from sqlalchemy import Engine, event

    @event.listens_for(Engine, "connect")
    def connected(connection: Any, _: object) -> None:
        if type(connection).__module__.startswith("sqlite3"):
            connection.execute("PRAGMA synchronous=OFF")


def _wanted(experiment: Experiment) -> dict[str, _Wanted]:
    """Runs that should exist, by key; parents before the runs that are nested in them."""
    from pipelines.report.tracking.runs import track_group, track_record

    runs: dict[str, _Wanted] = {}
    for group in experiment.groups:
        parent = f"{experiment.name}/{group.name}"
        runs[parent] = _Wanted(f"{_FORMAT} {group.digest}", partial(track_group, group))
        for entry in group.entries:
            key = f"{experiment.name}/{entry.folder}/{entry.record.run_id}"
            made = _Wanted(f"{_FORMAT} {entry.digest}", partial(track_record, entry), parent)
            runs[key] = made
    return runs


def _present(client: MlflowClient) -> Iterator[tuple[str, Run]]:
    """Key and run of every run that came from a record."""
    for experiment in client.search_experiments():
        token: str | None = None
        while True:
            page = client.search_runs(
                [experiment.experiment_id], max_results=1000, page_token=token
            )
            yield from ((r.data.tags.get(_KEY, ""), r) for r in page if _DIGEST in r.data.tags)
            token = page.token
            if not token:
                break


def _write(
    client: MlflowClient, home: str, wanted: dict[str, _Wanted], present: dict[str, Run]
) -> dict[str, str]:
    """Write the missing runs of an experiment, and correct the parents of the others.

    Returns the run id of each key.
    """
    ids = {key: run.info.run_id for key, run in present.items()}
    for key, run in wanted.items():
        nested = {_PARENT: ids[run.parent]} if run.parent else {}
        if key not in present:
            tags = nested | {_KEY: key, _DIGEST: run.digest}
            ids[key] = _log(client, home, run.tracked(), tags)
        elif nested and present[key].data.tags.get(_PARENT) != nested[_PARENT]:
            client.set_tag(ids[key], _PARENT, nested[_PARENT])
    return ids


def _experiment(client: MlflowClient, experiment: Experiment, artifacts: Path | None) -> str:
    """Create an experiment, or restore a deleted one, if needed."""
    found = client.get_experiment_by_name(experiment.name)
    if found is None:
        place = None if artifacts is None else artifacts.resolve().as_uri()
        return str(client.create_experiment(experiment.name, artifact_location=place))
    home = str(found.experiment_id)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(home)
    return home


def _describe(client: MlflowClient, home: str, experiment: Experiment, ids: dict[str, str]) -> None:
    """Write the description of an experiment, with links that compare its methods."""
    from mlflow.utils.validation import MAX_EXPERIMENT_TAG_VAL_LENGTH

    note = "\n\n".join([*_comparisons(home, experiment, ids), experiment.note])
    wanted = _SHOWN | {"mlflow.note.content": _cut(note, MAX_EXPERIMENT_TAG_VAL_LENGTH)}
    there = client.get_experiment(home).tags
    for name, value in wanted.items():
        if there.get(name) != value:
            client.set_experiment_tag(home, name, value)


def _comparisons(home: str, experiment: Experiment, ids: dict[str, str]) -> Iterator[str]:
    """Links to MLflow's comparison of the parent runs of each workload and track."""
    parents: dict[str, list[str]] = {}
    for group in experiment.groups if experiment.rows else ():
        parents.setdefault(group.place, []).append(ids[f"{experiment.name}/{group.name}"])
    for place, runs in parents.items():
        if len(runs) == 1:
            continue
        asked = {"runs": runs, "experiments": [home]}
        query = urlencode({k: json.dumps(v, separators=(",", ":")) for k, v in asked.items()})
        yield f"[Compare the methods on {place}](#/compare-runs?{query})"


def _cut(note: str, most: int) -> str:
    """Cut a note to at most `most` characters, at the end of a line."""
    if len(note) <= most:
        return note
    rest = "\n\nThe rest is in results/boards/."
    return note[: most - len(rest)].rpartition("\n")[0] + rest


def _log(client: MlflowClient, home: str, tracked: Tracked, tags: dict[str, str]) -> str:
    """Write a run; it counts as incomplete until it has ended."""
    from mlflow.entities import Param

    run = client.create_run(
        home, run_name=tracked.name, start_time=tracked.start, tags=tracked.tags | tags
    )
    run_id = str(run.info.run_id)
    parameters = [Param(name, value) for name, value in tracked.parameters.items()]
    client.log_batch(run_id, metrics=tracked.metrics, params=parameters)
    for name, text in tracked.artifacts.items():
        client.log_text(run_id, text, name)
    client.set_terminated(
        run_id, "FINISHED" if tracked.finished else "FAILED", end_time=tracked.end
    )
    return run_id


def _delete(client: MlflowClient, run: Run) -> None:
    """Delete a run and its artifacts, which MLflow itself would keep."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(run.info.artifact_uri).delete_artifacts()  # type: ignore[no-untyped-call]
    client.delete_run(run.info.run_id)
