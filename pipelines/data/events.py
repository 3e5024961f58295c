"""Events of a vision sensor: reading, writing, and binning into frames.

The file format is that of N-MNIST (Orchard et al. 2015, 10.3389/fnins.2015.00437), written by ATIS
sensors: five bytes for each event, one file for each recording. Bits from the first: 8 of x, 8 of
y, 1 of polarity (1: brighter), 23 of the time in microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.settings.workload import Workload

#: One event: time in microseconds, column, row, polarity (1: brighter).
EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])
Events = np.ndarray[tuple[int], np.dtype[np.void]]

_BYTES = 5
_LATEST = 2**23 - 1
#: Row of an event that says no more than that 2^13 us have passed, as read by tonic's
#: `read_mnist_file` and by https://github.com/gorchard/event-Python.
_OVERFLOW, _WRAP = 240, 2**13


def encode(events: Events) -> bytes:
    """Write events in the ATIS format.

    Raises
    ------
    ValueError
        If a place is outside [0, 255], or a time outside [0, 2^23).
    """
    for name, largest in (("x", 255), ("y", 255), ("t", _LATEST)):
        if len(events) and not 0 <= events[name].min() <= events[name].max() <= largest:
            raise ValueError(f"{name} of an event must be in [0, {largest}]")
    time = events["t"].astype(np.int64)
    columns = (
        events["x"],
        events["y"],
        events["p"].astype(np.int64) << 7 | time >> 16,
        time >> 8 & 255,
        time & 255,
    )
    return np.column_stack(columns).astype(np.uint8).tobytes()


def decode(raw: bytes, name: str, sensor: bool = False) -> Events:
    """Read events from the ATIS format.

    Parameters
    ----------
    raw
        Content of a file.
    name
        Of the file, for people.
    sensor
        Whether a sensor wrote the file, which reports overflows of its clock as events of row 240,
        and may be late: those events are left out, what follows each is 2^13 us later, and events
        are put into the order of time.

    Raises
    ------
    BenchError
        If the content does not consist of whole events, or they are not in the order of time.
    """
    if len(raw) % _BYTES:
        raise BenchError(f"{name} is truncated: {len(raw)} bytes are no whole number of events")
    table = np.frombuffer(raw, np.uint8).reshape(-1, _BYTES).astype(np.int64)
    events: Events = np.empty(len(table), EVENT)
    events["x"], events["y"], events["p"] = table[:, 0], table[:, 1], table[:, 2] >> 7
    events["t"] = (table[:, 2] & 127) << 16 | table[:, 3] << 8 | table[:, 4]
    if sensor:
        overflow = events["y"] == _OVERFLOW
        events["t"] += _WRAP * np.cumsum(overflow)
        return in_order(events[~overflow])
    if (np.diff(events["t"]) < 0).any():
        raise BenchError(f"{name} is no recording: its times go backwards")
    return events


def in_order(events: Events) -> Events:
    """Events in the order of time; those of the same time stay as they are."""
    return events[np.argsort(events["t"], kind="stable")]


@dataclass(frozen=True)
class Binning:
    """How a recording becomes frames.

    Parameters
    ----------
    steps
        T, frames of a recording.
    by
        ``time``: frames of the same duration, from the first event to the last; ``count``: frames
        of the same number of events, as far as it can be divided.
    values
        ``binary``: 1 where there was an event, so that the first layer only accumulates;
        ``counts``: how many there were, 255 at most.
    scale
        Side of the square of pixels that become one; their events are counted together.
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
            In the order of time.
        height, width
            Of the sensor; events outside are left out.

        Returns
        -------
        array
            [T, 2, rows, columns], which are height and width by `scale`, rounded up; the first
            channel is of darker events, the second of brighter.
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
        """Frame of each event."""
        if not len(events):
            return np.empty(0, np.int64)
        if self.by == "count":
            return np.arange(len(events)) * self.steps // len(events)
        since = events["t"] - events["t"][0]
        return np.asarray(since * self.steps // (since[-1] + 1), np.int64)


def binning_of(workload: Workload) -> Binning | None:
    """How a recording becomes the input of a workload's network; None for images."""
    if workload.frames is None:
        return None
    steps = workload.network.time_steps if workload.network.kind == "snn" else 1
    return Binning(steps, workload.frames.by, workload.frames.values, workload.frames.scale)
