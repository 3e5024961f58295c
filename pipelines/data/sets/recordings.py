"""Recordings in a ZIP archive, laid out as N-MNIST is: ``LABEL/NUMBER.bin``, one ATIS file each.

Files are stored, not compressed, and carry no date, so that the same events give the same archive.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.data.events import Binning, Events, decode, encode


def write(path: Path, recordings: Iterable[tuple[int, int, Events]]) -> None:
    """Write an archive of recordings: (label, number, events)."""
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for label, number, events in recordings:
            archive.writestr(zipfile.ZipInfo(f"{label}/{number:05d}.bin"), encode(events))


def digest(path: Path) -> str:
    """SHA-256 over names, sizes and check sums (CRC-32) of the files; ``""`` if it is no archive.

    It is quick, because it reads the directory alone. That files are what the directory says is
    checked when they are read.
    """
    total = hashlib.sha256()
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                total.update(f"{entry.filename} {entry.file_size} {entry.CRC:08x}\n".encode())
    except (OSError, zipfile.BadZipFile):
        return ""
    return total.hexdigest()


def read(path: Path, number: int, sensor: bool = False) -> tuple[int, Events]:
    """Label and events of one recording; for `sensor` see `decode`.

    Raises
    ------
    BenchError
        If there is none of this number, or the archive is damaged.
    """
    with _open(path) as archive:
        for name in _files(archive):
            label, found = _parse(name)
            if found == number:
                return label, decode(_content(archive, name), name, sensor)
        raise BenchError(f"{path.name} has no recording {number}; it has {len(_files(archive))}")


def read_frames(
    path: Path, binning: Binning, height: int, width: int, sensor: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All recordings of an archive, binned, in the order of their numbers.

    Parameters
    ----------
    path
        Of the archive.
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
    with _open(path) as archive:
        names = sorted(_files(archive), key=lambda name: _parse(name)[1])
        frames = np.empty((len(names), *binning.shape(height, width)), np.uint8)
        for i, name in enumerate(names):
            events = decode(_content(archive, name), name, sensor)
            frames[i] = binning.frames(events, height, width)
        return frames, np.array([_parse(name)[0] for name in names], np.int64)


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise BenchError(f"{path} is missing or damaged ({error}); fetch it again") from error


def _files(archive: zipfile.ZipFile) -> list[str]:
    """Recordings; not the notes that a Mac adds for each of them."""
    names = [name for name in archive.namelist() if name.endswith(".bin")]
    return [name for name in names if not name.startswith("__MACOSX/")]


def _parse(name: str) -> tuple[int, int]:
    """Label and number from a name such as ``Train/7/00042.bin``."""
    path = PurePosixPath(name)
    try:
        return int(path.parent.name), int(path.stem)
    except ValueError:
        raise BenchError(f"'{name}' is not named LABEL/NUMBER.bin, as in N-MNIST") from None


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise BenchError(
            f"{name} in {archive.filename} is damaged ({error}); delete the archive and fetch it "
            "again"
        ) from error
