"""Commands for people who publish records, or doubt them, or want to see the data."""

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


def show(
    name: Annotated[str, typer.Argument(help="Data set; see: dpap-bench list data")],
    number: Annotated[int, typer.Argument(min=0, help="Of the training sample.")] = 0,
    frames: Annotated[int, typer.Option(min=1, help="Of a recording, of equal duration.")] = 12,
    to: Annotated[
        Path | None, typer.Option(help="PNG file; default: results/local/show/NAME-NUMBER.png")
    ] = None,
) -> None:
    """Draw one training sample: an image, or a recording as a strip of frames."""
    from pipelines.core import data
    from pipelines.grid import find_root
    from pipelines.report import picture

    root = find_root(Path.cwd())
    source, folder = data.SOURCES.get(name), data.fetch(name, root / "data")
    assert source is not None  # or `fetch` would have said so
    if source.events:
        label, events = source.event_loader.recording(folder, number)
        drawn = picture.strip(events, *source.event_loader.SENSOR, frames)
        words = f"{len(events)} events, {int(events['p'].sum())} of them brighter (orange)"
    else:
        train = source.loader.load_training(folder).train
        if number >= len(train):
            raise InputError(
                f"{name} has {len(train)} training samples; the last is {len(train) - 1}."
            )
        label, drawn = (
            int(train.labels[number]),
            picture.grey(train.batch(slice(number, number + 1))[0][0].numpy()),
        )
        words = "an image"
    path = to or root / "results" / "local" / "show" / f"{name}-{number}.png"
    picture.write_png(drawn, path)
    print(f"{path}: {words}, class {label}")


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
