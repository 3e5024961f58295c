"""Commands for people who publish records, or doubt them."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pipelines.core.errors import BenchError, InputError


def verify(
    path: Annotated[
        Path | None, typer.Argument(help="Folder of records; default: results/records.")
    ] = None,
    rerun: Annotated[bool, typer.Option(help="Run one cell, chosen at random, again.")] = True,
    any_code: Annotated[
        bool, typer.Option("--any-code", help="Records made by other code are no fault.")
    ] = False,
    write_seal: Annotated[
        bool, typer.Option("--seal", help="First write down the hash of every record here.")
    ] = False,
) -> None:
    """Look for records that are edited, removed, doubled or contradict themselves."""
    from pipelines import audit
    from pipelines.grid import find_root

    root = find_root(Path.cwd())
    folder = path or root / "results" / "records"
    files = sorted(folder.rglob("*.json"))
    if not files:
        raise InputError(f"{folder} holds no record; name a folder that does.")
    if write_seal:
        print(f"{audit.seal(folder)} records sealed in {folder / audit.SEAL}")
    found = list(audit.faults(folder, any_code=any_code))
    if rerun and not found:
        file = random.SystemRandom().choice(files)
        print(f"running {file} again", file=sys.stderr)
        found = [(file, sentence) for sentence in _second_run(file, root)]
    for file, sentence in found:
        print(f"fault  {file}: {sentence}", flush=True)
    if found:
        raise BenchError(f"{len(found)} faults in {len(files)} records (see above).")
    print(f"{len(files)} records: no fault")


def _second_run(file: Path, root: Path) -> list[str]:
    """Run the cell of a record again; say what differs."""
    from pipelines import audit
    from pipelines.core import data
    from pipelines.core.record import read_record
    from pipelines.core.store import Store
    from pipelines.engine import run_cells

    record = read_record(file)
    spec = record.spec
    data.fetch(spec.settings.data, root / "data")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "records")
        # A control follows its parent, which must be run first.
        wanted = [spec.parent, spec] if spec.control else [spec]
        for cell in wanted:
            (again,) = run_cells([cell], root / "data", store, "serial", 1)
    return audit.differences(record, again)
