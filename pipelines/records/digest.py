"""Digest of the code that a result depends on, so that stale records are known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import baselines.shared
import pipelines
from pipelines.methods.registry import source_files

#: Folders of pipelines/ that a result depends on.
ROOMS = (
    "common",
    "data",
    "kernels",
    "methods",
    "networks",
    "records",
    "settings",
    "training",
)


def digest_files(files: Iterable[Path]) -> str:
    """SHA-256 over names and contents; line ends do not count."""
    total = hashlib.sha256()
    for file in sorted(files, key=lambda f: f.parts[-3:]):
        content = file.read_bytes().replace(b"\r\n", b"\n")
        total.update(f"{'/'.join(file.parts[-3:])}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def code_digest(method: str) -> str:
    """Digest of the rooms that results depend on, what methods share, and the method's files."""
    house = Path(pipelines.__path__[0])
    folders = [*(house / room for room in ROOMS), Path(baselines.shared.__path__[0])]
    rooms = {
        file for folder in folders for file in (*folder.rglob("*.py"), *folder.rglob("*.[ch]"))
    }
    return digest_files({*rooms, *source_files(method)})
