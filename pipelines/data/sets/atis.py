"""The file format of N-MNIST: recordings of an ATIS sensor in a ZIP archive.

The archive holds one file ``LABEL/NUMBER.bin`` for each recording (Orchard et al. 2015,
10.3389/fnins.2015.00437). An event takes five bytes. Bits from the first: 8 of x, 8 of y, 1 of
polarity (1: brighter), 23 of the time in microseconds.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pipelines.common.archives import open_zip, zip_names
from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.data.events import EVENT, Binning, Events, in_order

_BYTES = 5
_LATEST = 2**23 - 1
#: Row of an event that only says that 2^13 us have passed, as in tonic's `read_mnist_file` and in
#: https://github.com/gorchard/event-Python.
_OVERFLOW, _WRAP = 240, 2**13


def encode(events: Events) -> bytes:
    """Write events in the ATIS format.

    Raises
    ------
    ValueError
        If a coordinate is outside [0, 255], or a time outside [0, 2^23).
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
    """Read events in the ATIS format.

    Parameters
    ----------
    raw
        Content of a file.
    name
        Name of the file, for error messages.
    sensor
        Whether a real sensor wrote the file. It reports an overflow of its clock as an event in
        row 240, and may report events late. Overflow events are removed, 2^13 us are added to the
        time of every later event, and events are sorted by time.

    Raises
    ------
    BenchError
        If the file ends within an event, or events are not sorted by time.
    """
    if len(raw) % _BYTES:
        raise BenchError(f"{name} is truncated: {len(raw)} bytes are not a whole number of events")
    table = np.frombuffer(raw, np.uint8).reshape(-1, _BYTES).astype(np.int64)
    events: Events = np.empty(len(table), EVENT)
    events["x"], events["y"], events["p"] = table[:, 0], table[:, 1], table[:, 2] >> 7
    events["t"] = (table[:, 2] & 127) << 16 | table[:, 3] << 8 | table[:, 4]
    if sensor:
        overflow = events["y"] == _OVERFLOW
        events["t"] += _WRAP * np.cumsum(overflow)
        return in_order(events[~overflow])
    if (np.diff(events["t"]) < 0).any():
        raise BenchError(f"{name} is not a recording: its times decrease")
    return events


def write(path: Path, recordings: Iterable[tuple[int, int, Events]]) -> None:
    """Write an archive of recordings (label, number, events).

    Files are stored uncompressed and undated, so the same events give the same archive.
    """
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for label, number, events in recordings:
            archive.writestr(zipfile.ZipInfo(f"{label}/{number:05d}.bin"), encode(events))


def digest(path: Path) -> str:
    """SHA-256 over names, sizes and checksums (CRC-32) of the files; ``""`` if it is no archive.

    Only the directory of the archive is read, which is quick. The checksum of a file is compared
    with its content when the file is read.
    """
    total = hashlib.sha256()
    try:
        with open_zip(path) as archive:
            for entry in archive.infolist():
                total.update(f"{entry.filename} {entry.file_size} {entry.CRC:08x}\n".encode())
    except BenchError:
        return ""
    return total.hexdigest()


def read(path: Path, number: int, sensor: bool = False) -> tuple[int, Events]:
    """Read label and events of one recording; for `sensor` see `decode`.

    Raises
    ------
    BenchError
        If there is no recording of this number, or the archive is damaged.
    """
    with open_zip(path) as archive:
        names = _recordings(archive)
        for name in names:
            label, found = _parse(name)
            if found == number:
                return label, decode(archive.read(name), name, sensor)
    raise BenchError(f"{path.name} has no recording {number}; it has {len(names)}")


def read_frames(
    path: Path, binning: Binning, height: int, width: int, sensor: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read all recordings of an archive as frames, ordered by number.

    Parameters
    ----------
    path
        Archive.
    binning, height, width
        See `Binning.frames`.
    sensor
        See `decode`.

    Returns
    -------
    tuple of arrays
        Frames [N, T, 2, rows, columns], and labels [N].

    Raises
    ------
    BenchError
        If the archive is damaged.
    """
    with open_zip(path) as archive:
        names = sorted(_recordings(archive), key=lambda name: _parse(name)[1])
        frames = np.empty((len(names), *binning.shape(height, width)), np.uint8)
        for frame, name in zip(frames, names, strict=True):
            frame[:] = binning.frames(decode(archive.read(name), name, sensor), height, width)
        return frames, np.array([_parse(name)[0] for name in names], np.int64)


def _recordings(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in zip_names(archive) if name.endswith(".bin")]


def _parse(name: str) -> tuple[int, int]:
    """Label and number from a name such as ``Train/7/00042.bin``."""
    path = PurePosixPath(name)
    try:
        return int(path.parent.name), int(path.stem)
    except ValueError:
        raise BenchError(f"'{name}' is not named LABEL/NUMBER.bin, as in N-MNIST") from None
