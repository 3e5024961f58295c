"""Getting files and trusting them: checksums, several sources, no half files."""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipelines.core.errors import BenchError

DATA_VARIABLE = "DPAP_BENCH_DATA"
_TIMEOUT_SECONDS = 30


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that becomes `path` when the block ends, and vanishes if it fails.

    Raises
    ------
    BenchError
        If the file cannot be written (disk full, no permission).
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise BenchError(
            f"cannot write {path} ({error.strerror or error}); free some space or choose a folder "
            "that you may write to, then run the same command again."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def obtain(name: str, digest: str, folders: Sequence[Path], urls: Sequence[str], to: Path) -> None:
    """Put the uncompressed file `name` at `to`, from the first source that has the right one.

    The checksum is that of the uncompressed content, because packagers compress anew.

    Parameters
    ----------
    name
        File name without ``.gz``.
    digest
        SHA-256 of the uncompressed content.
    folders
        Looked into first, for `name` or `name`.gz.
    urls
        Addresses of `name`.gz, tried in turn.
    to
        Where to write.

    Raises
    ------
    BenchError
        If no source has the file with this checksum.
    """
    if to.exists() and sha256(to) == digest:
        return
    failures = []
    for source in _sources(name, folders, urls):
        try:
            content = _read(source)
        except (OSError, EOFError, zlib.error) as error:
            failures.append(f"{source}: {error or type(error).__name__}")
            continue
        if hashlib.sha256(content).hexdigest() != digest:
            failures.append(f"{source}: wrong checksum (truncated or altered)")
            continue
        with atomic_file(to) as file:
            file.write(content)
        return
    tried = "; ".join(failures) or "no source is known"
    raise BenchError(
        f"cannot get {name}: put it (or {name}.gz) into a folder and name that folder in "
        f"{DATA_VARIABLE}, or connect to the network and try again. Tried {tried}."
    )


def _sources(name: str, folders: Sequence[Path], urls: Sequence[str]) -> Iterator[Path | str]:
    own = os.environ.get(DATA_VARIABLE)
    for folder in [*([Path(own)] if own else []), *folders]:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                yield candidate
    yield from urls


def _read(source: Path | str) -> bytes:
    """Uncompressed content of a file or address."""
    if isinstance(source, Path):
        raw = source.read_bytes()
    else:
        if not source.startswith("https://"):
            raise OSError("not an https address")
        with urllib.request.urlopen(source, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            raw = response.read()
    return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
