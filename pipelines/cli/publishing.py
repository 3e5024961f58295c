"""Commands for people who publish records, or doubt them, or want to see the data."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.common.errors import BenchError, InputError

if TYPE_CHECKING:
    from pipelines.audit.faults import Fault


def verify(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of records, or a packed submission; default: every board in "
            "results/boards."
        ),
    ] = None,
    rerun: Annotated[bool, typer.Option(help="Run one cell, chosen at random, again.")] = True,
    any_code: Annotated[
        bool, typer.Option("--any-code", help="Records made by other code are no fault.")
    ] = False,
    write_seal: Annotated[
        bool, typer.Option("--seal", help="First write down the hash of every record here.")
    ] = False,
    take_in: Annotated[
        bool, typer.Option("--take-in", help="Then copy a submission's records into results/.")
    ] = False,
) -> None:
    """Look for records that are edited, removed, doubled or contradict themselves."""
    from pipelines.audit import faults as audit
    from pipelines.audit.seal import SEAL, seal_folder
    from pipelines.audit.submission import board_places
    from pipelines.boards.project import find_root

    root = find_root(Path.cwd())
    packed = path is not None and path.is_file()
    if packed and (write_seal or any_code):
        raise InputError("a submission is sealed, and of the code that is here; leave that out.")
    if take_in and not packed:
        raise InputError("only a packed submission can be taken in; name its file.")
    if path is not None and packed:
        _verify_submission(path, root, rerun=rerun, take_in=take_in)
        return
    places = [[path]] if path else list(board_places(root))
    if not any(True for folders in places for folder in folders for _ in folder.rglob("*.json")):
        raise InputError(f"{path or root / 'results' / 'boards'} holds no record; name a folder.")
    for folders in places if write_seal else ():
        for folder in folders:
            print(f"{seal_folder(folder)} records sealed in {folder / SEAL}")
    found = [fault for folders in places for fault in audit.faults(*folders, any_code=any_code)]
    _conclude([folder for folders in places for folder in folders], found, root, rerun=rerun)


def submit(
    method: Annotated[
        list[str] | None, typer.Option(help="Only these methods; default: all of the board.")
    ] = None,
    board: Annotated[str, typer.Option(help="See: dpap-bench list boards")] = "quick",
    to: Annotated[
        Path | None, typer.Option(help="File; default: results/local/submission-BOARD.tar.gz.")
    ] = None,
    rerun: Annotated[bool, typer.Option(help="Run one cell, chosen at random, again.")] = True,
) -> None:
    """Pack the records of your methods for somebody else to verify and take in."""
    from pipelines.audit import submission
    from pipelines.boards.params import load_params
    from pipelines.boards.project import find_root
    from pipelines.common import archives
    from pipelines.records.store import board_store

    root = find_root(Path.cwd())
    params, store = load_params(root), board_store(root, board)
    path = to or root / "results" / "local" / f"submission-{board}.tar.gz"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        submission.stage(params, board, method, store, folder)
        found = submission.faults(folder, params)
        _conclude(submission.record_folders(folder), found, root, rerun=rerun, base=folder)
        archives.pack(folder, path)
    print(f"packed in {path}")


def publish(
    to: Annotated[Path, typer.Option(help="Folder of the site.")],
    board: Annotated[
        list[str] | None, typer.Option(help="Only these; default: all whose cells are there.")
    ] = None,
) -> None:
    """Write the boards as a site: an overview, their pages, tables, figures, and a seal."""
    from pipelines.boards.params import load_params
    from pipelines.boards.project import find_root
    from pipelines.report.site import complete, write_site

    root = find_root(Path.cwd())
    params = load_params(root)
    boards = board or list(complete(params, root))
    if not boards:
        raise BenchError("no board has all its records; run dpap-bench sweep, or make repro.")
    count = write_site(params, boards, root, to)
    print(f"{', '.join(boards)}: {count} records, {to / 'index.html'}")


def show(
    name: Annotated[str, typer.Argument(help="Data set; see: dpap-bench list data")],
    number: Annotated[int, typer.Argument(min=0, help="Of the training sample.")] = 0,
    frames: Annotated[int, typer.Option(min=1, help="Of a recording, of equal duration.")] = 12,
    to: Annotated[
        Path | None, typer.Option(help="PNG file; default: results/local/show/NAME-NUMBER.png")
    ] = None,
) -> None:
    """Draw one training sample: an image, or a recording as a strip of frames."""
    from pipelines import data
    from pipelines.boards.project import find_root
    from pipelines.data import preview

    root = find_root(Path.cwd())
    source, folder = data.SOURCES.get(name), data.fetch(name, root / "data")
    assert source is not None  # or `fetch` would have said so
    if source.events:
        label, events = source.event_loader.recording(folder, number)
        drawn = preview.strip(events, *source.event_loader.SENSOR, frames)
        words = f"{len(events)} events, {int(events['p'].sum())} of them brighter (orange)"
    else:
        train = source.loader.load_training(folder).train
        if number >= len(train):
            raise InputError(
                f"{name} has {len(train)} training samples; the last is {len(train) - 1}."
            )
        label, drawn = (
            int(train.labels[number]),
            preview.grey(train.batch(slice(number, number + 1))[0][0].numpy()),
        )
        words = "an image"
    path = to or root / "results" / "local" / "show" / f"{name}-{number}.png"
    preview.write_png(drawn, path)
    print(f"{path}: {words}, class {label}")


def _verify_submission(path: Path, root: Path, *, rerun: bool, take_in: bool) -> None:
    from pipelines.audit import submission
    from pipelines.boards.params import load_params
    from pipelines.common import archives

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        archives.unpack(path, folder)
        found = submission.faults(folder, load_params(root))
        folders = submission.record_folders(folder)
        _conclude(folders, found, root, rerun=rerun, base=folder)
        if take_in:
            taken = submission.take_in(folder, root)
            print(f"{taken} records taken in")


def _conclude(
    folders: Sequence[Path],
    found: Iterable[Fault],
    root: Path,
    *,
    rerun: bool,
    base: Path | None = None,
) -> None:
    """Print the faults of records, or those of a second run; raise BenchError if there are any.

    Paths are printed as seen from `base`, if that is given.
    """
    from pipelines.audit.second_run import draw, second_run
    from pipelines.records.record import read_record

    def name(file: Path) -> Path:
        return file.relative_to(base) if base else file

    files = [file for folder in folders for file in sorted(folder.rglob("*.json"))]
    faults = list(found)
    if rerun and not faults:
        drawn = draw(files)
        if drawn is None:
            raise BenchError("none of the records can be run here; try it with --no-rerun.")
        print(f"running {name(drawn)} again", file=sys.stderr)
        faults = [(drawn, sentence) for sentence in second_run(read_record(drawn), root)]
    for file, sentence in faults:
        print(f"fault  {name(file)}: {sentence}", flush=True)
    if faults:
        raise BenchError(f"{len(faults)} faults in {len(files)} records (see above).")
    print(f"{len(files)} records: no fault")
