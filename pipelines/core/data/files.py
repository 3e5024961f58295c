"""Getting files and trusting them: checksums, several sources, no half files."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipelines.core.data.transfer import resume
from pipelines.core.errors import BenchError

DATA_VARIABLE = "DPAP_BENCH_DATA"


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


def verify(path: Path, digest: str, data_set: str) -> None:
    """Make sure that a fetched file is there and has its SHA-256.

    Raises
    ------
    BenchError
        If not, with the command that mends it.
    """
    if not path.is_file():
        raise BenchError(f"{path} is missing; run: dpap-bench fetch {data_set}")
    if sha256(path) != digest:
        raise BenchError(f"{path} is damaged; run: dpap-bench fetch {data_set}")


def obtain(name: str, digest: str, folders: Sequence[Path], urls: Sequence[str], to: Path) -> None:
    """Put the file `name` at `to`, from the first source that has the right one.

    Unless the name ends in ``.gz``, sources may be compressed, and the checksum is that of the
    uncompressed content, because packagers compress anew.

    Parameters
    ----------
    name
        File name; a ``.gz`` at its end is kept, and so is the compression.
    digest
        SHA-256 of the file as it is written.
    folders
        Looked into first, for `name` or `name`.gz, and so is the folder of `to`.
    urls
        Addresses of `name` or `name`.gz, tried in turn.
    to
        Where to write.

    Raises
    ------
    BenchError
        If no source has the file with this checksum.
    """
    if to.exists() and sha256(to) == digest:
        return
    names = [name] if name.endswith(".gz") else [name, f"{name}.gz"]
    failures = []
    for source in _sources(names, [*folders, to.parent], urls):
        try:
            content = source.read_bytes() if isinstance(source, Path) else _download(source, to)
            if len(names) > 1 and content[:2] == b"\x1f\x8b":
                content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            failures.append(f"{source}: {error or type(error).__name__}")
            continue
        if hashlib.sha256(content).hexdigest() != digest:
            failures.append(f"{source}: wrong checksum (truncated or altered)")
            continue
        with atomic_file(to) as file:
            file.write(content)
        for part in to.parent.glob(f".{to.name}.*.part"):
            part.unlink()
        return
    tried = "; ".join(failures) or "no source is known"
    raise BenchError(
        f"cannot get {name}: put {' or '.join(names)} into {to.parent}, or into a folder that you "
        f"name in {DATA_VARIABLE}, or connect to the network and try again. Tried {tried}."
    )


def _sources(
    names: Sequence[str], folders: Sequence[Path], urls: Sequence[str]
) -> Iterator[Path | str]:
    own = os.environ.get(DATA_VARIABLE)
    for folder in [*([Path(own)] if own else []), *folders]:
        for name in names:
            if (folder / name).is_file():
                yield folder / name
    yield from urls


def _download(url: str, to: Path) -> bytes:
    """Content at an address; what came of a broken transfer is kept, and the next one goes on.

    It is kept beside `to`, under a name of its own for each address, because mirrors may compress
    the same file in different ways.
    """
    part = to.with_name(f".{to.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
    resume(url, part)
    content = part.read_bytes()
    part.unlink()
    return content
