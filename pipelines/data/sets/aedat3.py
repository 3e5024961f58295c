"""The file format AEDAT 3.1, used by DVS-Gesture.

As the data set's README describes it: a header of lines that begin with ``#``, then packets. A
packet is a header of 28 bytes and events of 8 bytes. An event is a word (x from bit 17, y from bit
2, polarity at bit 1) and a time in microseconds, both little-endian.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from pipelines.common.errors import BenchError
from pipelines.data.events import EVENT, Events, in_order

_END = b"#!END-HEADER\r\n"
#: Type, source, event size, offset and overflow of the time, capacity, events, valid events.
_PACKET = struct.Struct("<HHIIIIII")
_POLARITY, _EVENT_BYTES = 1, 8
_PLACE = 0x1FFF


def read_aedat3(path: Path) -> Events:
    """Read all polarity events of a file, sorted by time.

    Raises
    ------
    BenchError
        If the file is missing, truncated or of another format.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror})") from error
    start = raw.find(_END)
    if not raw.startswith(b"#!AER-DAT3.") or start < 0:
        raise BenchError(f"{path} is not in the format AEDAT 3; unpack its archive again")
    at, words = start + len(_END), []
    while at < len(raw):
        if at + _PACKET.size > len(raw):
            raise BenchError(f"{path} is truncated; unpack its archive again")
        kind, _, size, _, overflow, capacity, number, _ = _PACKET.unpack_from(raw, at)
        at += _PACKET.size
        if at + size * capacity > len(raw) or number > capacity:
            raise BenchError(f"{path} is truncated; unpack its archive again")
        if kind == _POLARITY and size == _EVENT_BYTES:
            packet = np.frombuffer(raw, "<u4", 2 * number, at).reshape(-1, 2).astype(np.int64)
            packet[:, 1] += overflow << 31
            words.append(packet)
        at += size * capacity
    table = np.concatenate(words) if words else np.empty((0, 2), np.int64)
    events: Events = np.empty(len(table), EVENT)
    events["x"], events["y"] = table[:, 0] >> 17 & _PLACE, table[:, 0] >> 2 & _PLACE
    events["p"], events["t"] = table[:, 0] >> 1 & 1, table[:, 1]
    return in_order(events)
