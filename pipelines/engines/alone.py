"""A process of its own for code of others, which may end it, or change what is in it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from pipelines.common.errors import BenchError
from pipelines.training.resume import OutOfTime, Signals, Stopped

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

    from pipelines.records.record import RunRecord

    Work = Callable[[Signals], RunRecord | None]

#: Time that a run has to store its state when the process that started its own ended, in s.
GRACE = 30.0


class EndedError(Exception):
    """The process ended by itself before its work was done; with its exit status."""


def process_context() -> ForkServerContext:
    """Return how processes are started: as copies of one that has imported the harness."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipelines.engines.task"])
    return context


def run_alone(work: Work, signals: Signals, limit: float | None = None) -> RunRecord | None:
    """Do work in a process of its own, and return its result.

    Parameters
    ----------
    work
        Called with the signals of that process; it can be pickled.
    signals
        Of this process; they are passed on.
    limit
        Time after which the process is killed, in s; None: never.

    Raises
    ------
    EndedError
        If the process ended by itself.
    ChildProcessError
        If the process was killed.
    Stopped
        If this process was asked to end.
    OutOfTime
        If the work, or its process, took too long.
    BenchError
        If the work raised it, or if this process may not start others.
    """
    if multiprocessing.current_process().daemon:
        raise BenchError(
            "a cell of a plug-in needs a process of its own, which this worker may not start; set "
            "DASK_DISTRIBUTED__WORKER__DAEMON=False where workers of Dask are started."
        )
    context = process_context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, work))
    process.start()
    assert process.pid is not None
    sender.close()
    try:
        receiver.recv()  # from now on, the process notes signals
        with signals.passed_on(process.pid):
            if not receiver.poll(limit):
                raise OutOfTime
            sent: RunRecord | BaseException | None = receiver.recv()
    except EOFError:  # the process ended without a word
        process.join(GRACE)
        if signals.ending is not None:
            raise Stopped from None
        if (process.exitcode or 0) < 0:
            raise ChildProcessError(f"killed by signal {-(process.exitcode or 0)}") from None
        raise EndedError(process.exitcode) from None
    finally:  # nothing more is wanted of it, whatever threads it has left
        process.kill()
        process.join()
        receiver.close()
    if isinstance(sent, BaseException):
        raise sent
    return sent


def _send(sender: Connection, work: Work) -> None:
    """Do work in this process, and send its result, or why there is none."""
    leave_with_parent()
    with suppress(KeyboardInterrupt), Signals() as signals:
        sender.send(None)
        try:
            sender.send(work(signals))
        except (BenchError, OSError, OutOfTime) as error:
            sender.send(error)


def leave_with_parent() -> None:
    """End this process when the one that started it ends, even if that was killed.

    A cell that is running stores its state first.
    """
    parent = multiprocessing.parent_process()
    main = threading.main_thread().ident
    assert parent is not None
    assert main is not None

    def watch() -> None:
        wait([parent.sentinel])
        signal.pthread_kill(main, signal.SIGTERM)  # wakes it, too, if it waits
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
