"""Work that all engines share: one cell, and the checkpoints that cells start from."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from pathlib import Path

from pipelines.common.errors import BenchError
from pipelines.methods.catalogue import of_plugin
from pipelines.records.checkpoint import dense_cell
from pipelines.records.outcome import EpochPoint
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.training.cell import failed_record, run_cell


def run_and_store(
    spec: RunSpec,
    data_root: Path,
    store_root: Path,
    on_epoch: Callable[[EpochPoint], None] | None = None,
) -> RunRecord:
    """Run one cell and write its record at once.

    If the sweep is killed, only the cells that were running at that moment are lost. A cell of a
    plug-in runs in a process of its own: code of others may end it, or change what is in it.

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
    if of_plugin(spec.method) and on_epoch is None:
        record = _run_alone(spec, data_root, store)
    else:
        record = run_cell(spec, data_root, store.checkpoints, store.parent(spec), on_epoch)
    store.write(record)
    return record


def _run_alone(spec: RunSpec, data_root: Path, store: Store) -> RunRecord:
    """Run a cell in a process of its own, and return its record.

    Raises
    ------
    BenchError
        If the cell is refused, or the process is killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipelines.engines.task"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_record, args=(sender, spec, data_root, store.root))
    started_at = datetime.now(UTC)
    process.start()
    sender.close()
    try:
        sent: RunRecord | BenchError | None = receiver.recv()
    except EOFError:  # the process ended without a word
        sent = None
    except BaseException:  # Ctrl-C
        process.kill()
        raise
    finally:
        receiver.close()
    process.join()
    if isinstance(sent, BenchError):
        raise sent
    if sent is None and (process.exitcode or 0) < 0:
        raise BenchError(
            f"the process of {spec.label()} was killed by signal {-(process.exitcode or 0)} (out "
            "of memory?); finished cells are kept. Run the same command again."
        )
    return sent or failed_record(
        spec, data_root, f"the method ended its process with status {process.exitcode}.", started_at
    )


def _send_record(sender: Connection, spec: RunSpec, data_root: Path, store_root: Path) -> None:
    """Run a cell in this process, and send its record, or why it cannot be run."""
    leave_with_parent()
    store = Store(store_root)
    try:
        sender.send(run_cell(spec, data_root, store.checkpoints, store.parent(spec)))
    except BenchError as error:
        sender.send(error)


def leave_with_parent() -> None:
    """End this process when the one that started it ends, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def checkpoint_cells(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """Return one post-training cell for each dense checkpoint that the cells start from."""
    later = [spec for spec in specs if spec.track == "post-training"]
    return list({dense_cell(spec).run_id: spec for spec in later}.values())
