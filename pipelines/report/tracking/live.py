"""The curve of one cell in MLflow while it trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipelines.records.outcome import EpochPoint
from pipelines.report.tracking.experiments import NO_BOARD, Entry, run_name
from pipelines.report.tracking.sink import record_digest, record_key
from pipelines.report.tracking.tracker import DIGEST, KEY, Tracker
from pipelines.settings.spec import RunSpec

if TYPE_CHECKING:
    from mlflow.entities import Metric

#: Largest share of one core that sending takes while the cell trains.
SHARE = 0.01


def pause(spent: float) -> float:
    """Seconds without sending that follow `spent` seconds of computing, so that `SHARE` holds."""
    return spent * (1 / SHARE - 1)


class LiveRun:
    """A run in MLflow that grows with the curve of a cell, and becomes the run of its record.

    Use it as a context manager around the training. A thread sends the points, so the training
    waits neither for the network nor for a server that is down. Points that come while the thread
    pauses are sent together.

    Parameters
    ----------
    tracker
        The store, and the clone.
    spec
        The cell; its record is to go to results/local.
    folder
        Name of the folder of the record.
    """

    def __init__(self, tracker: Tracker, spec: RunSpec, folder: str) -> None:
        from mlflow.entities import Param

        from pipelines.report.tracking.runs import spec_parameters

        self.tracker = tracker
        self.start = round(time.time() * 1000)
        key = record_key(NO_BOARD, folder, spec.run_id)
        self._end_stopped(key)
        tags = {KEY: key, "kind": "run", "folder": folder, "status": "running"}
        home = tracker.experiment(NO_BOARD)
        self.run_id = tracker.begin(home, run_name(spec), self.start, tags)
        parameters = [Param(*item) for item in spec_parameters(spec).items()]
        tracker.client.log_batch(self.run_id, params=parameters)
        self.sender = Sender(self._send)
        self.epochs = 0
        self.sent: set[tuple[str, int]] = set()

    def __enter__(self) -> Self:
        self.sender.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what is left; if the training was stopped, end the run as KILLED."""
        self.sender.close()
        if kind is not None:
            with suppress(Exception):  # what stopped the training matters more
                self.tracker.client.set_terminated(self.run_id, "KILLED")

    def add(self, point: EpochPoint) -> None:
        """Take the point of the next epoch; this neither waits nor raises."""
        from pipelines.report.tracking.runs import epoch_points

        self.epochs += 1
        self.sender.put(epoch_points(point, self.epochs, self.start))

    def complete(self, entry: Entry) -> None:
        """Make the run that of the record, as a later `synchronize` would write it.

        Raises
        ------
        BenchError
            If artifacts cannot be written.
        """
        from pipelines.report.tracking.runs import track_record

        tracked = track_record(entry)
        tags = tracked.tags | {DIGEST: record_digest(entry)}
        left = [point for point in tracked.metrics if (point.key, point.step) not in self.sent]
        self.tracker.complete(self.run_id, tracked, tags, left)

    def _send(self, points: list[Metric]) -> None:
        self.tracker.client.log_batch(self.run_id, metrics=points)
        self.sent.update((point.key, point.step) for point in points)

    def _end_stopped(self, key: str) -> None:
        """End earlier live runs of this cell that were killed and could not say so."""
        for run in self.tracker.runs(self.tracker.clone, key):
            if run.info.status == "RUNNING" and DIGEST not in run.data.tags:
                self.tracker.client.set_terminated(run.info.run_id, "KILLED")


class Sender:
    """Sends points in a thread that uses at most `SHARE` of a core.

    Points that could not be sent are sent again with the next ones.

    Parameters
    ----------
    send
        Sends a list of points.
    """

    def __init__(self, send: Callable[[list[Metric]], None]) -> None:
        self.send = send
        self.queue: SimpleQueue[list[Metric] | None] = SimpleQueue()
        self.closing = Event()
        self.thread = Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self.thread.start()

    def put(self, points: list[Metric]) -> None:
        """Take points; this neither waits nor raises."""
        self.queue.put(points)

    def close(self) -> None:
        """Send what is left, and end."""
        self.closing.set()
        self.queue.put(None)
        self.thread.join()

    def _work(self) -> None:
        left: list[Metric] = []
        more = True
        while more:
            points, more = self._take()
            left += points
            began = time.thread_time()
            with suppress(Exception):  # a server may fail in any way; the training goes on
                self.send(left)
                left = []
            self.closing.wait(pause(time.thread_time() - began))

    def _take(self) -> tuple[list[Metric], bool]:
        """Wait for points; return all that are there, and whether more may come."""
        points: list[Metric] = []
        while True:
            taken = self.queue.get()
            if taken is None:
                return points, False
            points += taken
            if self.queue.empty():
                return points, True
