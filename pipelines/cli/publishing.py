"""Commands to verify, submit and publish records, and to show samples of the data."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import BoardName, DataName, OnlyMethods, Rerun, project_root
from pipelines.common.errors import BenchError, InputError, one_line

if TYPE_CHECKING:
    from pipelines.audit.faults import Fault
    from pipelines.boards.params import Params
    from pipelines.records.record import RunRecord


def verify(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of records, of a board, or of boards; or file of a submission. Default: "
            "all boards in results/boards."
        ),
    ] = None,
    rerun: Rerun = True,
    any_code: Annotated[
        bool,
        typer.Option("--any-code", help="Accept records that another version of the code made."),
    ] = False,
    write_seal: Annotated[
        bool,
        typer.Option("--seal", help="First write the hash of every record to SHA256SUMS."),
    ] = False,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="With --seal: also seal a board with missing cells, whose records come as they "
            "are computed.",
        ),
    ] = False,
    take_in: Annotated[
        bool,
        typer.Option("--take-in", help="Copy the records of a valid submission into results/."),
    ] = False,
) -> None:
    """Check records for errors and manipulation.

    This finds records that were edited, removed or duplicated, and records that contradict
    themselves.
    """
    from pipelines.audit import faults as audit
    from pipelines.audit.seal import SEAL, seal_folder
    from pipelines.audit.submission import places

    root = project_root()
    packed = path is not None and path.is_file()
    if packed and (write_seal or any_code):
        raise InputError(
            "a submission is sealed already, and must come from the current code; leave out --seal "
            "and --any-code."
        )
    if partial and not write_seal:
        raise InputError("--partial says which boards may be sealed; give --seal, too.")
    if take_in and not packed:
        raise InputError("only a packed submission can be taken in; give the path of its file.")
    if path is not None and not packed and not path.is_dir():
        raise InputError(f"there is no file or folder {path}; give records or a submission.")
    if path is not None and packed:
        _verify_submission(path, root, rerun=rerun, take_in=take_in)
        return
    boards = places(path or root / "results")
    folders = [folder for board in boards for folder in board]
    if not any(True for folder in folders for _ in folder.rglob("*.json")):
        raise InputError(
            f"{path or root / 'results' / 'boards'} holds no record; give a folder of records."
        )
    if write_seal and not partial:
        _require_complete(folders, root)
    for folder in folders if write_seal else ():
        print(f"{seal_folder(folder)} records sealed in {folder / SEAL}")
    found = [fault for board in boards for fault in audit.faults(*board, any_code=any_code)]
    _conclude(folders, found, root, rerun=rerun)


def convert(
    folder: Annotated[Path, typer.Argument(help="Folder of records, such as results/tuning.")],
) -> None:
    """Write older records in the present format.

    Records of all versions can be read without this. The present form takes less space.
    """
    from pipelines.audit.conversion import convert as convert_records

    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give a folder of records.")
    converted, found = convert_records(folder)
    print(f"{converted} of {found} records converted in {folder}")


def submit(
    method: OnlyMethods = None,
    board: BoardName = "quick",
    to: Annotated[
        Path | None,
        typer.Option(help="Target file; default: results/local/submission-BOARD.tar.gz."),
    ] = None,
    rerun: Rerun = True,
) -> None:
    """Pack the records of your methods into one file.

    A maintainer verifies it with 'dpap-bench verify FILE'.
    """
    from pipelines.audit import submission
    from pipelines.boards.params import load_params
    from pipelines.common import archives
    from pipelines.records.store import board_store

    root = project_root()
    params, store = load_params(root), board_store(root, board)
    path = to or root / "results" / "local" / f"submission-{board}.tar.gz"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        submission.stage(params, board, method, store, folder)
        found = [*submission.faults(folder, params)]
        found += _broken_methods(folder, params, root) if rerun and not found else []
        _conclude(submission.record_folders(folder), found, root, rerun=rerun, base=folder)
        archives.pack(folder, path)
    print(f"packed: {path}")


def publish(
    to: Annotated[Path, typer.Option(help="Target folder of the site.")],
    board: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this board; may be given several times. Default: all whose records are "
            "complete."
        ),
    ] = None,
    home: Annotated[
        list[str] | None,
        typer.Option(
            help="Board that the site opens on; if several are given, the first that the site has. "
            "Default: an overview."
        ),
    ] = None,
    docs: Annotated[
        Path | None, typer.Option(help="Folder of the built documentation, which is added.")
    ] = None,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Also boards with missing cells; their pages say how many."),
    ] = False,
) -> None:
    """Write a web site of the boards.

    It has an overview, the page, tables and figures of each board, and a seal of the records.
    """
    from pipelines.boards.params import load_params
    from pipelines.report.site import Entrance, presentable, write_site

    root = project_root()
    params = load_params(root)
    boards = board or list(presentable(params, root, partial=partial))
    if not boards:
        which = "any record" if partial else "all its records"
        raise BenchError(f"no board has {which}; run dpap-bench sweep, or make repro.")
    for name in home or ():
        params.board(name)  # refuses an unknown name
    opened = next((name for name in home or () if name in boards), "")
    count = write_site(params, boards, root, to, Entrance(opened, docs, partial))
    print(f"{', '.join(boards)}: {count} records, {to / 'index.html'}")


def show(
    name: DataName,
    number: Annotated[int, typer.Argument(min=0, help="Number of the training sample.")] = 0,
    frames: Annotated[
        int, typer.Option(min=1, help="Frames per recording of events, of equal duration.")
    ] = 12,
    to: Annotated[
        Path | None, typer.Option(help="PNG file; default: results/local/show/NAME-NUMBER.png.")
    ] = None,
) -> None:
    """Draw one training sample into a PNG file.

    A recording of events is drawn as a strip of frames.
    """
    from pipelines import data
    from pipelines.data import preview

    root = project_root()
    folder = data.fetch(name, root / "data")  # refuses an unknown name
    source = data.SOURCES[name]
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
        label = int(train.labels[number])
        drawn = preview.grey(train.batch(slice(number, number + 1))[0][0].numpy())
        words = "an image"
    path = to or root / "results" / "local" / "show" / f"{name}-{number}.png"
    preview.write_png(drawn, path)
    print(f"{path}: {words}, class {label}")


def _require_complete(folders: Sequence[Path], root: Path) -> None:
    """Raise BenchError if one of the folders belongs to a board of this project with missing cells.

    A seal says that the records of a board may be published.
    """
    from pipelines.boards.params import load_params
    from pipelines.records.store import board_folder, board_store
    from pipelines.report.analysis.board_records import collect

    params = load_params(root)
    for board in params.boards:
        here = board_folder(root, board).resolve()
        if any(here in (folder.resolve(), *folder.resolve().parents) for folder in folders):
            store = board_store(root, board)
            try:
                collect(params.everything(board, store), store)
            except BenchError as error:
                raise BenchError(
                    f"the board '{board}' cannot be sealed: {error} To seal what there is, add "
                    "--partial."
                ) from error


def _verify_submission(path: Path, root: Path, *, rerun: bool, take_in: bool) -> None:
    """Verify a packed submission; copy its records into results/ if `take_in`."""
    from pipelines.audit import submission
    from pipelines.boards.params import load_params
    from pipelines.common import archives

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        archives.unpack(path, folder, most_files=submission.MOST_FILES)
        params = load_params(root)
        found = [*submission.faults(folder, params)]
        found += _broken_methods(folder, params, root) if rerun and not found else []
        folders = submission.record_folders(folder)
        _conclude(folders, found, root, rerun=rerun, base=folder)
        if take_in:
            taken = submission.take_in(folder, root)
            print(f"{taken} records taken in")


def _broken_methods(folder: Path, params: Params, root: Path) -> Iterator[Fault]:
    """Check the methods of a submission against the contract, as dpap-bench check does."""
    from pipelines import data
    from pipelines.audit.submission import MANIFEST, methods_of
    from pipelines.authoring.check import faults
    from pipelines.methods.registry import method

    data.fetch("digits", root / "data")
    digits = data.load_training("digits", root / "data")
    for name in methods_of(folder):
        print(f"checking {name}", file=sys.stderr)
        for where, sentence in faults(method(name), params.methods.get(name), digits):
            yield folder / MANIFEST, f"{name}{f' ({where})' if where else ''}: {sentence}"


def _conclude(
    folders: Sequence[Path],
    found: Iterable[Fault],
    root: Path,
    *,
    rerun: bool,
    base: Path | None = None,
) -> None:
    """Print the faults of records, then those of second runs of some of them.

    Parameters
    ----------
    folders
        Folders of records.
    found
        Faults of these records.
    root
        The project's folder.
    rerun
        Whether to run the cells of some records again, if the records have no fault.
    base
        Print paths relative to this folder; None: print whole paths.

    Raises
    ------
    BenchError
        If there is a fault, or no record can be run again on this machine.
    """
    from pipelines.audit.second_run import draw, run_again, second_runs

    def name(file: Path) -> Path:
        return file.relative_to(base) if base else file

    files = [file for folder in folders for file in sorted(folder.rglob("*.json"))]
    faults = list(found)
    if rerun and not faults:
        drawn = draw(files)
        if not drawn:
            raise BenchError(
                "no record can be run again on this machine; use --no-rerun to verify without it."
            )

        def again(file: Path, record: RunRecord) -> tuple[RunRecord | None, list[str]]:
            print(f"running {name(file)} again", file=sys.stderr)
            return run_again(record, root)

        faults = list(second_runs(drawn, files, again))
    for file, sentence in faults:
        print(f"fault  {one_line(str(name(file)))}: {one_line(sentence)}", flush=True)
    if faults:
        raise BenchError(f"{len(faults)} faults in {len(files)} records (see above).")
    print(f"{len(files)} records: no fault")
