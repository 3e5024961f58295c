"""Getting large archives: found or downloaded, verified, safely unpacked."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file, sha256
from pipelines.data.transfer import resume

DATA_VARIABLE = "DPAP_BENCH_DATA"


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
            content = source.read_bytes() if isinstance(source, Path) else _content(source, to)
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


def _content(url: str, to: Path) -> bytes:
    """Content at an address; what came of a broken transfer is kept, and the next one goes on.

    It is kept beside `to`, under a name of its own for each address, because mirrors may compress
    the same file in different ways.
    """
    part = to.with_name(f".{to.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
    resume(url, part)
    content = part.read_bytes()
    part.unlink()
    return content


@dataclass(frozen=True)
class Archive:
    """A file on a server.

    Parameters
    ----------
    name
        What the file is called here.
    url
        Its address, which begins with ``https://``.
    md5
        Checksum that its publishers give, as hexadecimal digits. It finds damage; it does not
        keep out somebody who builds another file with the same sum.
    """

    name: str
    url: str
    md5: str

    def matches(self, path: Path) -> bool:
        """Whether the file has the checksum."""
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        return found.hexdigest() == self.md5


def find_archive(archive: Archive, folder: Path) -> Path | None:
    """Find an archive that was put there by hand, and verify it.

    Looked for are `folder`/NAME, and NAME in the folder that ``DPAP_BENCH_DATA`` names, or in that
    folder's subfolder called as `folder` is.

    Raises
    ------
    BenchError
        If a file in `folder` has another checksum.
    """
    to = folder / archive.name
    if to.is_file():
        if archive.matches(to):
            return to
        raise BenchError(
            f"{to} has another checksum than {archive.md5} (MD5), so it is damaged or another "
            "file; delete it, then run the same command again."
        )
    own = os.environ.get(DATA_VARIABLE)
    for place in (Path(own), Path(own) / folder.name) if own else ():
        path = place / archive.name
        if path.is_file() and archive.matches(path):
            return path
    return None


def obtain_archive(archive: Archive, folder: Path) -> Path:
    """Find an archive (see `find_archive`), or download it into `folder`.

    A download lies in `folder`/NAME.part until it is complete and verified; one that was cut short
    goes on where it stopped.

    Returns
    -------
    path
        Of the verified archive.

    Raises
    ------
    BenchError
        If a file in `folder` has another checksum, or the archive cannot be had.
    """
    if found := find_archive(archive, folder):
        return found
    to = folder / archive.name
    try:
        _download(archive, to)
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(
            f"cannot get {archive.name} from {archive.url} ({error or type(error).__name__}); run "
            "the same command again to go on, or, if the link is dead, get the file elsewhere and "
            f"put it at {to}, or into a folder that {DATA_VARIABLE} names."
        ) from error
    return to


def _download(archive: Archive, to: Path) -> None:
    """Download and verify.

    Raises
    ------
    OSError
        If it cannot be had, is cut short, or has another checksum.
    """
    part = to.with_name(f"{to.name}.part")
    if not (part.is_file() and archive.matches(part)):
        resume(archive.url, part)
        if not archive.matches(part):
            part.unlink()
            raise OSError("wrong checksum; what was downloaded is deleted")
    part.replace(to)


def unpack(archives: Sequence[Path], to: Path) -> None:
    """Unpack archives, and the ZIP archives inside them, into one new folder.

    Files are written beside `to`, which appears when all is done. Nothing is written outside, and
    links that lead outside are refused.

    Raises
    ------
    BenchError
        If an archive is damaged or refused, or there is no room.
    """
    beside = to.with_name(f".{to.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for archive in archives:
            _unpack(archive, beside)
        for inner in sorted(beside.rglob("*.zip")):
            _unpack(inner, inner.parent)
            inner.unlink()
        beside.replace(to)
    except (OSError, EOFError, ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
        names = ", ".join(str(archive) for archive in archives)
        raise BenchError(
            f"cannot unpack {names} into {to} ({error}); free some space, or delete what is "
            "damaged, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _unpack(archive: Path, to: Path) -> None:
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            file.extractall(to)  # noqa: S202 -- drops '..' and a leading '/' of names itself
    else:
        with tarfile.open(archive) as file:
            file.extractall(to, filter="data")
