"""Seals: one file in a folder of records that lists the SHA-256 of each file of a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.common.files import atomic_file, sha256
from pipelines.records.files import PROVENANCE

#: File name of a seal: one line for each file, in the format of ``sha256sum``.
SEAL = "SHA256SUMS"
#: Endings of the files that are sealed: records, and the files beside them.
RECORD = ".json"
_ENDINGS = (RECORD, PROVENANCE)


def _sealed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in _ENDINGS)


def checksums(files: Mapping[str, Path]) -> str:
    """Return one line for each file with its SHA-256, in the format of ``sha256sum``.

    Parameters
    ----------
    files
        Name of the file in its line -> the file.
    """
    return "".join(f"{sha256(path)}  {name}\n" for name, path in sorted(files.items()))


def seal_folder(folder: Path) -> int:
    """Write the SHA-256 of all files of the records in a folder into its seal.

    Returns
    -------
    int
        The number of records.

    Raises
    ------
    BenchError
        If the seal cannot be written.
    """
    files = {path.relative_to(folder).as_posix(): path for path in _sealed(folder)}
    with atomic_file(folder / SEAL) as out:
        out.write(checksums(files).encode())
    return sum(path.suffix == RECORD for path in files.values())


def broken_seals(folder: Path) -> Iterator[tuple[Path, str]]:
    """Find records that were edited, removed or added since their folder was sealed.

    A folder without a seal has no such faults.

    Yields
    ------
    tuple of Path and str
        A file, and a sentence that says what is wrong with it.
    """
    if not (folder / SEAL).exists():
        return
    sealed = {}
    for line in (folder / SEAL).read_text(errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        sealed[name] = digest
    here = {path.relative_to(folder).as_posix(): path for path in _sealed(folder)}
    for name, digest in sealed.items():
        if name not in here:
            yield folder / name, f"is in {SEAL}, but the file is gone; restore it."
        elif sha256(here[name]) != digest:
            yield here[name], f"was changed after it was sealed in {SEAL}; restore the old file."
    for name in sorted(here.keys() - sealed.keys()):
        yield here[name], f"is not in {SEAL}; check the record, then seal the folder again."
