"""Small files in the formats of the event data sets."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np

from pipelines.data.events import EVENT, Events
from pipelines.data.sets.atis import encode


def events_of(*rows: tuple[int, int, int, int]) -> Events:
    """Events (t, x, y, p)."""
    return np.array(list(rows), EVENT)


def write_n_mnist(path: Path, number: int) -> None:
    """An archive as N-MNIST's: folders, files counted from 1, an overflow in each."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}/", "")
        archive.writestr(f"__MACOSX/{path.stem}/0/._00001.bin", "as Macs do")
        for i in reversed(range(number)):
            rows = ((8000, i, 2, 1), (8191, 0, 240, 0), (1000, 3, i, 0))
            raw = b"".join(encode(events_of(row)) for row in rows)
            archive.writestr(f"{path.stem}/{i % 10}/{i + 1:05d}.bin", raw)


HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"
#: Classes in the order of a table; the eighth is there twice, as in the real ones.
GESTURES = (1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11)


def packet(*events: tuple[int, int, int, int], kind: int = 1, overflow: int = 0) -> bytes:
    """A packet of events (t, x, y, p), with room for one more."""
    body = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in events)
    number = len(events)
    head = struct.pack("<HHIIIIII", kind, 0, 8, 4, overflow, number + 1, number, number)
    return head + body + bytes(8)


def write_trials(top: Path, train: int = 3, test: int = 2) -> None:
    """Trials whose gesture g of trial i is one event in row g, column i."""
    top.mkdir(parents=True)
    names = {"train": [f"user{i:02d}_led" for i in range(1, train + 1)]}
    names["test"] = [f"user{i:02d}_lab" for i in range(24, 24 + test)]
    for part, trials in names.items():
        listed = "".join(f"{name}.aedat\n" for name in trials) + "\n"
        (top / f"trials_to_{part}.txt").write_text(listed)
        for i, name in enumerate(trials):
            events = [(100 * g + 50, i, g, g % 2) for g in range(len(GESTURES))]
            late = [(100 * g + 100, 99, 99, 1) for g in range(len(GESTURES))]  # at the end: outside
            raw = HEADER + packet(*events) + packet(*late) + packet((1, 1, 1, 1), kind=2)
            (top / f"{name}.aedat").write_bytes(raw)
            rows = [f"{c},{100 * g + 10},{100 * g + 100}" for g, c in enumerate(GESTURES)]
            table = "class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n"
            (top / f"{name}_labels.csv").write_text(table)
