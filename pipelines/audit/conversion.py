"""Conversion of the records of a folder to the present schema."""

from __future__ import annotations

from pathlib import Path

from pipelines.audit.seal import SEAL, broken_seals, seal_folder
from pipelines.common.errors import BenchError
from pipelines.records.files import is_present_form, read_record, write_record


def convert(folder: Path) -> tuple[int, int]:
    """Write the records of a folder again where their files have an older form.

    What the records say stays the same to the last digit. A seal is made anew. Records in the
    present form are left as they are, so a second call changes nothing.

    Parameters
    ----------
    folder
        Folder with records at any depth.

    Returns
    -------
    tuple of int and int
        How many records were converted, and how many there are.

    Raises
    ------
    BenchError
        If a record is not valid, or was edited after it had been sealed; nothing is changed then.
    """
    for path, sentence in broken_seals(folder):
        raise BenchError(f"{path} {sentence} Nothing was converted.")
    records = {path: read_record(path) for path in sorted(folder.rglob("*.json"))}
    old = [path for path in records if not is_present_form(path)]
    for path in old:
        write_record(path, records[path])
    if old and (folder / SEAL).exists():
        seal_folder(folder)
    return len(old), len(records)
