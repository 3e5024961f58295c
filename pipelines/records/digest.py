"""Digest of the code that a result depends on; it shows which records are out of date."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import baselines.shared
import pipelines
from pipelines.methods.registry import source_files

#: Packages in pipelines/ whose code can change a result.
PACKAGES = (
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
    """Return the SHA-256 over names and contents of files; CRLF counts as LF."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.parts[-3:]):
        name = "/".join(file.parts[-3:])
        content = file.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def code_digest(method: str) -> str:
    """Return the digest of all code that the results of a method depend on.

    It covers the Python and C files in `PACKAGES` and in ``baselines/shared``, and the method's own
    files.
    """
    harness = Path(pipelines.__path__[0])
    folders = [harness / package for package in PACKAGES]
    folders.append(Path(baselines.shared.__path__[0]))
    files = set(source_files(method))
    for folder in folders:
        files.update(folder.rglob("*.py"))
        files.update(folder.rglob("*.[ch]"))
    return digest_files(files)
