"""Events of a vision sensor, and how a recording is binned into frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.settings.workload import Workload

#: One event: time in microseconds, column, row, polarity (1: brighter).
EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])
Events = np.ndarray[tuple[int], np.dtype[np.void]]


def in_order(events: Events) -> Events:
    """Sort events by time; events of the same time keep their order."""
    return events[np.argsort(events["t"], kind="stable")]


@dataclass(frozen=True)
class Binning:
    """How a recording is binned into frames.

    Parameters
    ----------
    steps
        Number of frames T.
    by
        ``time``: frames of equal duration, from the first event to the last; ``count``: frames
        with equal numbers of events, up to one.
    values
        ``binary``: 1 where there was an event, so that the first layer only accumulates;
        ``counts``: number of events, clipped to 255.
    scale
        Side of the square of pixels that are binned into one.
    """

    steps: int
    by: Literal["time", "count"] = "time"
    values: Literal["binary", "counts"] = "binary"
    scale: int = 1

    def shape(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Shape of the frames of one recording, [T, 2, rows, columns]."""
        return self.steps, 2, -(-height // self.scale), -(-width // self.scale)

    def frames(self, events: Events, height: int, width: int) -> NDArray[np.uint8]:
        """Bin one recording.

        Parameters
        ----------
        events
            Sorted by time.
        height, width
            Size of the sensor in pixels; events outside are ignored.

        Returns
        -------
        array
            [T, 2, rows, columns]; rows and columns are height and width divided by `scale`,
            rounded up. The first channel counts darker events, the second brighter ones.
        """
        step = self._steps(events)
        inside = (events["x"] < width) & (events["y"] < height)
        shape = self.shape(height, width)
        *_, rows, columns = shape
        row, column = events["y"] // self.scale, events["x"] // self.scale
        at = ((step * 2 + events["p"]) * rows + row) * columns + column
        counts = np.bincount(at[inside], minlength=int(np.prod(shape)))
        counts = counts.clip(max=1 if self.values == "binary" else 255)
        return counts.astype(np.uint8).reshape(shape)

    def _steps(self, events: Events) -> NDArray[np.int64]:
        """Frame index of each event."""
        if not len(events):
            return np.empty(0, np.int64)
        if self.by == "count":
            return np.arange(len(events)) * self.steps // len(events)
        since = events["t"] - events["t"][0]
        return np.asarray(since * self.steps // (since[-1] + 1), np.int64)


def binning_of(workload: Workload) -> Binning | None:
    """Binning that a workload asks for; None if its data set holds images."""
    if workload.frames is None:
        return None
    steps = workload.network.time_steps if workload.network.kind == "snn" else 1
    return Binning(steps, workload.frames.by, workload.frames.values, workload.frames.scale)
