"""Commands that show results: tables and page of a board, and MLflow."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import BoardName, DeviceName, Json, Uri, print_json, project_root
from pipelines.cli.tracking import open_tracker
from pipelines.common.errors import BenchError, InputError


def report(
    board: BoardName = "quick",
    update: Annotated[
        Path | None,
        typer.Option(help="Only write the board's tables into this document, between its markers."),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="Only print the best rows; the board must have been built."),
    ] = False,
    literature: Annotated[
        bool,
        typer.Option("--literature", help="Only print published results beside rows of the board."),
    ] = False,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="Also build a board with missing cells, into its folder 'partial'; they are "
            "counted everywhere.",
        ),
    ] = False,
    device: DeviceName = None,
) -> None:
    """Build tables, figures and page of a board.

    They are built from the board's records alone; nothing is trained.
    """
    from pipelines.records.store import board_folder, board_store

    if partial and (update is not None or literature):
        raise InputError(
            "--partial is for your own eyes: a document or a comparison with published results "
            "needs all cells; leave out --partial."
        )
    root = project_root()
    results = board_folder(root, board)
    if not show:
        from pipelines.boards.params import load_params
        from pipelines.report import build as building

        store, params = board_store(root, board), load_params(root, device)
        published = root / "results" / "published.yaml"
        if literature:
            print(building.literature_markdown(params, board, store, published))
            return
        if update is not None:
            building.update_tables(params, board, store, update)
            print(f"Tables of {board}: {update}")
            return
        if partial:
            covered = building.build_partial(params, board, store, results, published)
            if covered.missing:
                results = results / building.PARTIAL
                print(f"Partial board: {covered.sentence}.")
        else:
            building.build(params, board, store, results, published)
    elif partial and (results / "partial").is_dir():
        results = results / "partial"
    best = results / "best.txt"
    if not best.exists():
        raise BenchError(
            f"the board '{board}' has not been built yet; run: dpap-bench report --board {board}"
        )
    if show:
        print(best.read_text())
    print(f"Page: {results / 'leaderboard.html'}")


def findings(
    path: Annotated[
        Path, typer.Argument(help="Document with marked blocks, such as docs/findings.md.")
    ] = Path("docs/findings.md"),
    device: DeviceName = None,
) -> None:
    """Write what the records say into a document.

    Writes comparisons, and verdicts on published claims.
    Nothing is trained. Cells without a record are named as not computed yet.
    """
    from pipelines.boards.params import load_params
    from pipelines.report.findings.blocks import fill_blocks

    root = project_root()
    names = fill_blocks(load_params(root, device), root, path)
    print(f"{', '.join(names)}: {path}")


def diff(
    old: Annotated[
        str,
        typer.Argument(help="The older board: a git revision, or the folder of a board."),
    ],
    new: Annotated[
        str,
        typer.Argument(help="The newer board: a git revision, or the folder of a board."),
    ],
    board: Annotated[
        str | None,
        typer.Option(help="Name of the board; default: the name of the folder, or quick."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two versions of a board.

    Shows rows that came, went and moved.
    Revisions are read from git; the work tree is not changed.
    """
    from pipelines.boards.snapshot import read_snapshots
    from pipelines.report.analysis.changes import changes
    from pipelines.report.tables.changes import changes_markdown

    one, two = read_snapshots(old, new, board, project_root())
    for each in (one, two):
        if not each.settings_read:
            print(
                f"{each.source} has no params.yaml that this version can read, so all its records "
                "count.",
                file=sys.stderr,
            )
    found = changes(one.records, two.records)
    if as_json:
        print_json({"board": two.board, "old": old, "new": new} | asdict(found))
    else:
        print(changes_markdown(two.board, old, new, found), end="")


def sync(
    uri: Uri = None,
    take_over: Annotated[
        list[str] | None,
        typer.Option(help="Id of a clone that is gone: its runs become runs of this clone."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring MLflow up to date with the records.

    Repeats change nothing. Runs that other clones or other programs wrote to the same store are
    kept.
    """
    from filelock import FileLock, Timeout

    from pipelines.boards.params import load_params
    from pipelines.report.tracking.experiments import experiments
    from pipelines.report.tracking.sink import synchronize
    from pipelines.report.tracking.target import choose_target, one_sentence

    root = project_root()
    target = choose_target(root, uri)
    local = root / "results" / "local"
    local.mkdir(parents=True, exist_ok=True)
    try:
        # Two at a time would write each run twice.
        with FileLock(local / "sync.lock", timeout=0):
            tracker = open_tracker(target)
            found = experiments(load_params(root), root)
            with one_sentence(target):
                changes = synchronize(found, tracker, take_over or ())
    except Timeout:
        raise BenchError("another dpap-bench sync is running here; wait until it ends.") from None
    if changes.kept_artifacts:
        print(
            f"the artifacts of {len(changes.kept_artifacts)} deleted runs are still there "
            f"({changes.kept_artifacts[0]}); mlflow gc removes them.",
            file=sys.stderr,
        )
    if as_json:
        print_json(changes.counts | {"uri": target.shown})
    else:
        done = ", ".join(f"{number} {what}" for what, number in changes.counts.items())
        print(f"{done}: {target.shown}")
