"""Digest of the code that a result depends on, so that stale records are known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pipelines.core
from pipelines.core.methods import shared_files, source_files


def digest_files(files: Iterable[Path]) -> str:
    """SHA-256 over names and contents; line ends do not count."""
    total = hashlib.sha256()
    for file in sorted(files, key=lambda f: (f.parent.name, f.name)):
        content = file.read_bytes().replace(b"\r\n", b"\n")
        total.update(f"{file.parent.name}/{file.name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def code_digest(method: str) -> str:
    """Digest of pipelines/core, what methods share, and the method's own files."""
    folder = Path(pipelines.core.__path__[0])
    core = [*folder.rglob("*.py"), *folder.rglob("*.[ch]")]
    return digest_files([*core, *shared_files(), *source_files(method)])
