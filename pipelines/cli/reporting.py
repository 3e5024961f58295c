"""Commands that show results: tables and page of a board, and MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import BoardName, DeviceName, Json, print_json, project_root
from pipelines.common.errors import BenchError


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
    device: DeviceName = None,
) -> None:
    """Build tables, figures and page of a board.

    They are built from the board's records alone; nothing is trained.
    """
    from pipelines.records.store import board_folder, board_store

    root = project_root()
    results = board_folder(root, board)
    if not show:
        from pipelines.boards.params import load_params
        from pipelines.report.build import build, literature_markdown, update_tables

        store, params = board_store(root, board), load_params(root, device)
        published = root / "results" / "published.yaml"
        if literature:
            print(literature_markdown(params, board, store, published))
            return
        if update is not None:
            update_tables(params, board, store, update)
            print(f"Tables of {board}: {update}")
            return
        build(params, board, store, results, published)
    best = results / "best.txt"
    if not best.exists():
        raise BenchError(
            f"the board '{board}' has not been built yet; run: dpap-bench report --board {board}"
        )
    if show:
        print(best.read_text())
    print(f"Page: {results / 'leaderboard.html'}")


def sync(
    uri: Annotated[
        str | None,
        typer.Option(help="MLflow tracking URI; default: mlflow.db in the project's folder."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy new and changed records to MLflow.

    Running it again changes nothing.
    """
    from filelock import FileLock, Timeout

    from pipelines.boards.params import load_params
    from pipelines.report.tracking.experiments import experiments
    from pipelines.report.tracking.sink import synchronize

    root = project_root()
    results = root / "results"
    (results / "local").mkdir(parents=True, exist_ok=True)
    try:
        # The first process that writes creates MLflow's tables; two at once would break them.
        with FileLock(results / "local" / "sync.lock", timeout=0):
            found = experiments(load_params(root), root)
            counts = (
                synchronize(found, uri)
                if uri
                else synchronize(found, f"sqlite:///{root / 'mlflow.db'}", root / "mlruns")
            )
    except Timeout:
        raise BenchError("another dpap-bench sync is running here; wait until it ends.") from None
    if as_json:
        print_json(counts)
    else:
        print(", ".join(f"{number} {what}" for what, number in counts.items()))
