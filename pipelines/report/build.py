"""Builds everything that a board shows; the same records give the same bytes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.core.data.files import atomic_file
from pipelines.core.errors import BenchError
from pipelines.core.store import Store
from pipelines.grid import Params
from pipelines.report.collect import collect
from pipelines.report.figures import accuracy_over_density, figure_name, save
from pipelines.report.page import render
from pipelines.report.paper_measures import paper_tables
from pipelines.report.rows import make_rows
from pipelines.report.summary import summary_markdown
from pipelines.report.tables import make_tables, table_markdown, to_csv, to_json, to_markdown


def build(params: Params, board: str, store: Store, results: Path) -> None:
    """Write leaderboard.{json,csv,md,html} and figures/ into `results`.

    Raises
    ------
    BenchError
        If cells of the board have no record.
    """
    with _no_collector():
        records = collect(params.everything(board, store), store)
    rows = make_rows(records)
    tables = [*make_tables(rows), *paper_tables(rows, records)]
    figures = {
        figure_name(workload, track): accuracy_over_density(rows, workload, track)
        for workload, track in dict.fromkeys((row.workload, row.track) for row in rows)
    }
    for name, specification in figures.items():
        save(specification, results / "figures", f"{name}-accuracy-density")
    documents = {
        "json": to_json(board, rows, records),
        "csv": to_csv(rows),
        "md": to_markdown(board, tables),
        "html": render(board, tables, figures, records),
    }
    for ending, text in documents.items():
        with atomic_file(results / f"leaderboard.{ending}") as file:
            file.write(text.encode())


@contextmanager
def _no_collector() -> Iterator[None]:
    """Pause the garbage collector, which would walk thousands of new records again and again."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # records form no cycles
        if running:
            gc.enable()


def update_tables(params: Params, board: str, store: Store, path: Path) -> None:
    """Put the tables of a board, or its summary, between the markers in a document.

    ``<!-- board: NAME -->`` begins the tables, ``<!-- summary: NAME -->`` the summary;
    ``<!-- end of ... -->`` ends them. What stood there is replaced.

    Raises
    ------
    BenchError
        If cells have no record, or the document has no markers.
    """
    records = collect([*params.cells(board), *params.controls(board, store)], store)
    rows = make_rows(records)
    tables = [*make_tables(rows), *paper_tables(rows, records)]
    whole = "\n".join(f"**{t.title}.** {t.note}\n\n{table_markdown(t)}" for t in tables)
    document = path.read_text()
    updated = _between(document, f"board: {board}", whole)
    updated = _between(updated or document, f"summary: {board}", summary_markdown(rows)) or updated
    if updated is None:
        raise BenchError(
            f"{path} has no lines '<!-- board: {board} -->' and '<!-- end of board: {board} -->'; "
            "write them where to put it."
        )
    with atomic_file(path) as file:
        file.write(updated.encode())


def _between(document: str, name: str, text: str) -> str | None:
    """A document with other text between its markers; None if it has none of that name."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    return f"{before}{begin}\n\n{text}\n{end}{after}" if found and closed else None
