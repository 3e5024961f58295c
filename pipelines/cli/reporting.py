"""Verbs that show results: tables and pages of a board, MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Json, On, print_json, project_root
from pipelines.common.errors import BenchError


def report(
    board: Annotated[str, typer.Option(help="See: dpap-bench list boards")] = "quick",
    update: Annotated[
        Path | None, typer.Option(help="Only put the board's tables into this document.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the best rows of the board built last.")
    ] = False,
    literature: Annotated[
        bool, typer.Option("--literature", help="Only print published results beside our rows.")
    ] = False,
    device: On = None,
) -> None:
    """Build tables, figures and the page of a board from its records, or show the best rows."""
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
        str | None, typer.Option(help="MLflow tracking URI; default: sqlite:///mlflow.db here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring MLflow up to date with the records; repeats change nothing."""
    from filelock import FileLock, Timeout

    from pipelines.boards.params import load_params
    from pipelines.report.tracking.experiments import experiments
    from pipelines.report.tracking.sink import synchronize

    root = project_root()
    results = root / "results"
    (results / "local").mkdir(parents=True, exist_ok=True)
    try:
        # MLflow's tables are made by the first who writes; two at a time would break them.
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
