"""Tasks: what engines compute, one cell or one dense checkpoint each."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from filelock import FileLock

from pipelines.common.errors import BenchError
from pipelines.data import fetch
from pipelines.engines.alone import EndedError, run_alone
from pipelines.methods.catalogue import of_plugin
from pipelines.records.checkpoint import checkpoint_path, dense_cell, stored_digest
from pipelines.records.digest import code_digest
from pipelines.records.outcome import EpochPoint
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.training.cell import failed_record, make_start, run_cell
from pipelines.training.resume import OutOfTime, Resume, Signals

#: Time that a cell has to reach its next training step after its time limit, in s.
GRACE = 60.0
#: Held while this process computes: cells share the settings of torch, such as threads.
_COMPUTING = threading.Lock()
#: Data sets that this process has fetched, with their folder.
_FETCHED: set[tuple[Path, str]] = set()


class TimeLimitError(Exception):
    """A cell took longer than its time limit; its state is stored."""


@dataclass(frozen=True)
class Task:
    """One cell, and what it depends on.

    Parameters
    ----------
    spec
        The cell.
    data_root
        Folder of data sets, on the machine of the worker.
    store_root
        Folder of the store. Resume points and checkpoints are beside it; workers on several
        machines need it at the same path.
    code
        Digest of the code that must compute the cell.
    parent
        Record of the cell that a control follows.
    checkpoint
        Digest of the dense checkpoint that a post-training cell must start from; empty: there is
        none yet.
    only_start
        Whether to train the dense checkpoint that the cell starts from, instead of the cell.
    limit
        Time limit, in s; None: there is none.
    fetches
        Whether the worker fetches the data set, because it may be on another machine.
    """

    spec: RunSpec
    data_root: Path
    store_root: Path
    code: str
    parent: RunRecord | None = None
    checkpoint: str = ""
    only_start: bool = False
    limit: float | None = None
    fetches: bool = False

    @property
    def label(self) -> str:
        """Description for people, such as on Dask's dashboard."""
        spec = dense_cell(self.spec) if self.only_start else self.spec
        return f"checkpoint of {spec.label()}" if self.only_start else spec.label()


def compute(task: Task, on_epoch: Callable[[EpochPoint], None] | None = None) -> RunRecord | None:
    """Compute a task; a cell that was interrupted goes on from its resume point.

    A cell of a plug-in is computed in a process of its own: code of others may end it, or change
    what is in it. A cell with `on_epoch` is computed here.

    Parameters
    ----------
    task
        What to compute.
    on_epoch
        Called after each epoch; see `pipelines.training.cell.run_cell`.

    Returns
    -------
    RunRecord or None
        The record of the cell, which is not written yet; None if the task is a checkpoint.

    Raises
    ------
    TimeLimitError
        If the time limit has passed.
    ChildProcessError
        If the process of a plug-in's cell was killed.
    BenchError
        If code, checkpoint or data of the worker are not those of the task.
    """
    if not _COMPUTING.acquire(blocking=False):
        raise BenchError("a worker computes one cell at a time; start it with --nthreads 1.")
    try:
        with Signals() as signals:
            if task.fetches:
                _fetch(task.spec.settings.data, task.data_root)
            if of_plugin(task.spec.method) and not task.only_start and on_epoch is None:
                return _compute_alone(task, signals)
            return _compute(task, signals, on_epoch)
    except OutOfTime as error:
        raise TimeLimitError(task.label) from error
    finally:
        _COMPUTING.release()


def _compute_alone(task: Task, signals: Signals) -> RunRecord | None:
    started_at = datetime.now(UTC)
    longest = None if task.limit is None else task.limit + 2 * GRACE
    try:
        return run_alone(partial(_compute, task), signals, longest)
    except EndedError as error:
        message = f"the method ended its process with status {error}."
        return failed_record(task.spec, task.data_root, message, started_at)


def _compute(
    task: Task, signals: Signals, on_epoch: Callable[[EpochPoint], None] | None = None
) -> RunRecord | None:
    spec, store = task.spec, Store(task.store_root)
    if code_digest(spec) != task.code:
        raise BenchError(
            f"a worker has other code for {spec.label()}; install the same version on all "
            "machines, start the workers again, and run the same command again."
        )
    found = stored_digest(checkpoint_path(store.checkpoints, spec)) if task.checkpoint else ""
    if found != task.checkpoint:
        raise BenchError(
            f"a worker finds another dense checkpoint for {spec.label()}; all workers need the "
            f"folder {store.checkpoints}."
        )
    resume = Resume(store.resume_point(spec), signals, limit=task.limit)
    with _watched(task.limit):
        if task.only_start:
            make_start(spec, task.data_root, store.checkpoints, resume)
            return None
        return run_cell(spec, task.data_root, store.checkpoints, task.parent, on_epoch, resume)


def _fetch(name: str, root: Path) -> None:
    """Fetch a data set, once on each machine, and verify it, once in each process."""
    if (root, name) not in _FETCHED:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"):
            fetch(name, root)
        _FETCHED.add((root, name))


@contextmanager
def _watched(limit: float | None) -> Iterator[None]:
    """Raise `OutOfTime` in this thread if a method does not return long after the time limit.

    Code that is not Python, and never returns, is not interrupted; that of a plug-in is killed.
    """
    if limit is None:
        yield
        return
    thread, lock, runs = threading.get_ident(), threading.Lock(), True

    def stop() -> None:
        with lock:
            if runs:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(OutOfTime)
                )

    timer = threading.Timer(limit + GRACE, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            runs = False
        timer.cancel()


def keep(store: Store, record: RunRecord) -> None:
    """Write the record of a cell that has ended, and delete its resume point.

    Raises
    ------
    BenchError
        If the record cannot be written.
    """
    store.write(record)
    with suppress(OSError):  # the record counts: without it, the cell would be computed again
        store.resume_point(record.spec).unlink()


def run_and_store(
    spec: RunSpec,
    data_root: Path,
    store_root: Path,
    on_epoch: Callable[[EpochPoint], None] | None = None,
) -> RunRecord:
    """Run one cell in this process, and write its record.

    Parameters
    ----------
    spec
        The cell.
    data_root
        Folder of fetched data sets.
    store_root
        Folder of the store.
    on_epoch
        Called after each epoch; see `pipelines.training.cell.run_cell`.

    Raises
    ------
    BenchError
        If the record cannot be written.
    """
    store = Store(store_root)
    task = Task(spec, data_root, store_root, code_digest(spec), store.parent(spec))
    record = compute(task, on_epoch)
    assert record is not None
    keep(store, record)
    return record
