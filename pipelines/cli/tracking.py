"""What the verbs that write to MLflow share: an open store, and a cell with a live curve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.common.errors import BenchError

if TYPE_CHECKING:
    from pipelines.records.record import RunRecord
    from pipelines.records.store import Store
    from pipelines.report.tracking.target import Target
    from pipelines.report.tracking.tracker import Tracker
    from pipelines.settings.spec import RunSpec


def open_tracker(target: Target) -> Tracker:
    """Connect to a store as the clone of the project's folder.

    Raises
    ------
    BenchError
        If the store does not answer.
    """
    from pipelines.report.tracking.clone import find_clone
    from pipelines.report.tracking.target import connect
    from pipelines.report.tracking.tracker import Tracker

    client, clone = connect(target), find_clone(target.root)
    if clone.copied:
        print(
            f"results/local was copied from another folder, so this clone has a new id, {clone.id}."
            f" Runs of {clone.copied} in MLflow are kept; if that folder is gone, take them over: "
            f"dpap-bench sync --take-over {clone.copied}",
            file=sys.stderr,
        )
    return Tracker(client, clone.id, target.artifacts)


def run_live(spec: RunSpec, root: Path, store: Store, target: Target) -> RunRecord:
    """Run one cell, show its curve in MLflow while it trains, and make that the record's run.

    If the store fails during the training, the record is written nevertheless.

    Raises
    ------
    BenchError
        If the store does not answer at the start.
    """
    from pipelines.engines.task import run_and_store
    from pipelines.records.files import files_digest
    from pipelines.report.tracking.experiments import NO_BOARD, Entry
    from pipelines.report.tracking.live import LiveRun
    from pipelines.report.tracking.target import one_sentence

    tracker = open_tracker(target)
    with one_sentence(target):
        live = LiveRun(tracker, spec, store.root.name)
    print(f"live in MLflow, experiment '{NO_BOARD}': {target.shown}", file=sys.stderr)
    with live:
        record = run_and_store(spec, root / "data", store.root, live.add)
    path = store.path(spec)
    try:
        with one_sentence(target):
            live.complete(Entry(record, path, files_digest(path), store.root.name))
    except BenchError as error:
        print(f"{error}; the record is written, dpap-bench sync sends it later.", file=sys.stderr)
    return record
