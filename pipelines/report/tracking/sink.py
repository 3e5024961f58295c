"""MLflow as a sink: a tracking store can be rebuilt from the records at any time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from pipelines.common.errors import InputError
from pipelines.metrics.table import ACCURACY, METRICS
from pipelines.report.tracking.experiments import Entry, Experiment
from pipelines.report.tracking.tracker import CLONE, DIGEST, KEY, PARENT, Tracker

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipelines.report.tracking.runs import Tracked

#: Part of every checksum: all runs are rewritten after a change of the format or of the metrics.
_FORMAT = f"3 {sha256(' '.join(METRICS).encode()).hexdigest()[:12]}"
#: How MLflow shows an experiment: as training runs, with this metric first.
_SHOWN = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": ACCURACY.name,
    "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
}
#: Tags of an experiment: the description that MLflow shows, whether it is ours to write, and the
#: part of it of each clone.
_NOTE, _DESCRIBED, _PART = "mlflow.note.content", "dpap_bench.described", "dpap_bench.note."


@dataclass(frozen=True)
class _Wanted:
    """A run that should exist; `parent` is the key of the run that it is nested in."""

    digest: str
    tracked: Callable[[], Tracked]
    parent: str = ""


@dataclass
class Changes:
    """What a synchronisation did.

    Parameters
    ----------
    added, replaced, deleted, unchanged
        Numbers of runs, with the parent run of each method.
    kept_artifacts
        Why the artifacts of deleted runs could not be deleted, one text per run.
    """

    added: int = 0
    replaced: int = 0
    deleted: int = 0
    unchanged: int = 0
    kept_artifacts: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of runs."""
        names = ("added", "replaced", "deleted", "unchanged")
        return {name: getattr(self, name) for name in names}


def synchronize(
    experiments: Sequence[Experiment], tracker: Tracker, take_over: Sequence[str] = ()
) -> Changes:
    """Make the runs of a clone in a tracking store equal to its records.

    A new record becomes a run, a changed record replaces its run, and the run of a deleted record
    is deleted. A run that was incomplete when a synchronisation stopped is written again. Runs from
    elsewhere, also those of other clones, are kept.

    Parameters
    ----------
    experiments
        Experiments that should exist.
    tracker
        The store, and the clone.
    take_over
        Ids of clones that are gone, whose runs belong to this clone from now on.

    Raises
    ------
    InputError
        If a clone of `take_over` has no runs in the store.
    BenchError
        If an experiment or artifacts cannot be written.
    """
    wanted = {experiment.name: _wanted(experiment) for experiment in experiments}
    digests = {key: run.digest for runs in wanted.values() for key, run in runs.items()}
    taken = [run for clone in take_over for run in _runs_of(tracker, clone)]
    # First, since a deleted experiment is restored with its runs.
    homes = {experiment.name: tracker.experiment(experiment.name) for experiment in experiments}
    present: dict[str, Run] = {}
    gone: list[str] = []
    changes = Changes()
    for run in [*tracker.runs(tracker.clone), *taken]:
        key, found = run.data.tags[KEY], run.data.tags.get(DIGEST)
        ended = run.info.status != "RUNNING"
        if found is None and not (ended and key in digests):
            continue  # a live run whose cell is still training, or was stopped
        if ended and found == digests.get(key) and key not in present:
            present[key] = run
            if run.data.tags[CLONE] != tracker.clone:
                tracker.client.set_tag(run.info.run_id, CLONE, tracker.clone)
        else:
            failure = tracker.delete(run)
            changes.kept_artifacts += [failure] if failure else []
            gone.append(key)
    ids: dict[str, dict[str, str]] = {}
    for experiment in experiments:
        home, runs = homes[experiment.name], wanted[experiment.name]
        ids[experiment.name] = _write(tracker, home, runs, present)
    _describe(tracker, experiments, ids, take_over)
    changes.replaced = len(set(gone) & (digests.keys() - present.keys()))
    changes.added = len(digests) - len(present) - changes.replaced
    changes.deleted = len(gone) - changes.replaced
    changes.unchanged = len(present)
    return changes


def record_key(experiment: str, folder: str, run_id: str) -> str:
    """Key of the run of a record, or of the record to come, in an experiment."""
    return f"{experiment}/{folder}/{run_id}"


def record_digest(entry: Entry) -> str:
    """Checksum of the content of the run of a record."""
    return f"{_FORMAT} {entry.digest}"


def _runs_of(tracker: Tracker, clone: str) -> list[Run]:
    found = tracker.runs(clone) if clone.isalnum() else []
    if not found:
        raise InputError(
            f"no run of the clone '{clone}' is there; each run has its clone in the tag {CLONE}."
        )
    return found


def _wanted(experiment: Experiment) -> dict[str, _Wanted]:
    """Runs that should exist, by key; parents before the runs that are nested in them."""
    from pipelines.report.tracking.runs import track_group, track_record

    runs: dict[str, _Wanted] = {}
    for group in experiment.groups:
        parent = f"{experiment.name}/{group.name}"
        runs[parent] = _Wanted(f"{_FORMAT} {group.digest}", partial(track_group, group))
        for entry in group.entries:
            key = record_key(experiment.name, entry.folder, entry.record.run_id)
            runs[key] = _Wanted(record_digest(entry), partial(track_record, entry), parent)
    return runs


def _write(
    tracker: Tracker, home: str, wanted: dict[str, _Wanted], present: dict[str, Run]
) -> dict[str, str]:
    """Write the missing runs of an experiment, and correct the parents of the others.

    Returns the run id of each key.
    """
    ids = {key: run.info.run_id for key, run in present.items()}
    for key, run in wanted.items():
        nested = {PARENT: ids[run.parent]} if run.parent else {}
        if key not in present:
            tracked = run.tracked()
            tags = tracked.tags | nested | {KEY: key, DIGEST: run.digest}
            ids[key] = tracker.begin(home, tracked.name, tracked.start, tags)
            tracker.complete(ids[key], tracked, {}, tracked.metrics)
        elif nested and present[key].data.tags.get(PARENT) != nested[PARENT]:
            tracker.client.set_tag(ids[key], PARENT, nested[PARENT])
    return ids


def _describe(
    tracker: Tracker,
    experiments: Sequence[Experiment],
    ids: dict[str, dict[str, str]],
    take_over: Sequence[str],
) -> None:
    """Write this clone's part of the descriptions; a description by other hands stays."""
    from mlflow.utils.validation import MAX_EXPERIMENT_TAG_VAL_LENGTH as MOST

    notes = {experiment.name: experiment for experiment in experiments}
    own = {f"{_PART}{clone}" for clone in (tracker.clone, *take_over)}
    for there in tracker.experiments():
        home, tags = str(there.experiment_id), dict(there.tags)
        old = own & tags.keys()
        experiment = notes.get(there.name)
        if (experiment is None and not old) or (tags.get(_NOTE) and _DESCRIBED not in tags):
            continue
        parts = {name: tags[name] for name in tags.keys() - own if name.startswith(_PART)}
        if experiment is not None:
            links = _comparisons(home, experiment, ids[experiment.name])
            note = "\n\n".join([*links, experiment.note])
            parts[f"{_PART}{tracker.clone}"] = _cut(note, MOST)
        wanted = {_DESCRIBED: "True"} | _SHOWN | parts | {_NOTE: _joined(parts, MOST)}
        for name, value in wanted.items():
            if tags.get(name) != value:
                tracker.client.set_experiment_tag(home, name, value)
        for name in old - parts.keys():
            tracker.client.delete_experiment_tag(home, name)


def _joined(parts: dict[str, str], most: int) -> str:
    """One description of the parts of all clones, each with the same share of the length."""
    if not parts:
        return "No clone has records of this board."
    if len(parts) == 1:
        return next(iter(parts.values()))
    share = most // len(parts) - len("\n\n")
    titled = {name: f"## Clone {name.removeprefix(_PART)}\n\n{parts[name]}" for name in parts}
    return "\n\n".join(_cut(titled[name], share) for name in sorted(titled))


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
