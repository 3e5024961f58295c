"""Builds the tables, figures and page of a board; the same records give the same bytes."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.boards.coverage import Coverage, coverage
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file, read_text
from pipelines.common.markers import replace_between
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.report.analysis.board_records import collect
from pipelines.report.analysis.literature import literature
from pipelines.report.analysis.published_results import load_published
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.charts.accuracy import accuracy_over_density, figure_name
from pipelines.report.charts.critical_difference import critical_difference_diagram, diagram_name
from pipelines.report.charts.vega import draw, save
from pipelines.report.formats.latex import to_latex
from pipelines.report.formats.markdown import table_markdown, to_markdown
from pipelines.report.page.page import render
from pipelines.report.page.sections import further_tables, make_sections
from pipelines.report.tables.best import best_json, best_text
from pipelines.report.tables.density import make_tables
from pipelines.report.tables.document import to_csv, to_json
from pipelines.report.tables.literature import literature_table
from pipelines.report.tables.paper import paper_tables
from pipelines.report.tables.standings import synops_tables, synops_target_tables
from pipelines.report.tables.summary import summary_markdown

#: Folder of the report of a board with missing cells, in the folder of the board.
PARTIAL = "partial"


def build(
    params: Params,
    board: str,
    store: Store,
    results: Path,
    published: Path,
    *,
    partial: bool = False,
) -> tuple[list[RunRecord], Coverage]:
    """Write leaderboard.{json,csv,md,tex,html}, best.{txt,json} and figures/.

    An older partial report of a board that is complete now is deleted.

    Parameters
    ----------
    params, board
        The board is one of `params`.
    store
        The board's records.
    results
        Where to write.
    published
        The file of published results.
    partial
        Whether cells may have no record.

    Returns
    -------
    list, Coverage
        The records, and which cells have one.

    Raises
    ------
    BenchError
        If cells of the board have no record, with `partial` if none has one, or if the published
        results are not valid.
    """
    records, covered = _collect(params, board, store, partial=partial)
    _write(params, board, records, covered, results, published)
    return records, covered


def build_partial(
    params: Params, board: str, store: Store, results: Path, published: Path
) -> Coverage:
    """Write what `build` writes, also if cells have no record; return which cells have one.

    The report of an incomplete board is written to the folder ``partial`` of `results`, so it never
    replaces a complete report. A complete board is written as `build` does.

    Parameters
    ----------
    params, board, store, results, published
        As for `build`.

    Raises
    ------
    BenchError
        If no run of the board has a record, or the published results are not valid.
    """
    records, covered = _collect(params, board, store, partial=True)
    folder = results / PARTIAL if covered.missing else results
    _write(params, board, records, covered, folder, published)
    return covered


def _collect(
    params: Params, board: str, store: Store, *, partial: bool
) -> tuple[list[RunRecord], Coverage]:
    with _no_collector():
        records = collect(params.everything(board, store), store, partial=partial)
    if not records:
        raise BenchError(
            f"no run of the board '{board}' has a record; run: dpap-bench sweep --board {board}."
        )
    return records, coverage(params, board, {record.run_id: record for record in records})


def _write(
    params: Params,
    board: str,
    records: Sequence[RunRecord],
    covered: Coverage,
    results: Path,
    published: Path,
) -> None:
    """Write all documents of a report."""
    analysis = analyse(make_rows(records, covered.absent))
    rows, computed = analysis.rows, analysis.computed
    tables = make_tables(rows, analysis.standings, covered)
    matched = [*tables, *paper_tables(computed.rows, records)]
    further = further_tables(computed)
    figures = {
        figure_name(workload, track): accuracy_over_density(
            computed.rows, workload, track, covered.of_workload(workload, track)
        )
        for workload, track in dict.fromkeys(
            (row.workload, row.track) for row in computed.rows if not row.is_reference
        )
    }
    for name, specification in figures.items():
        save(draw(specification), results / "figures", f"{name}-accuracy-density")
    for one in analysis.critical_differences:
        save(critical_difference_diagram(one), results / "figures", diagram_name(one))
    beside = literature(load_published(published), params, board, rows)
    documents = {
        "json": to_json(board, analysis, records, beside, covered),
        "csv": to_csv(rows),
        "md": to_markdown(board, [*matched, *further], analysis.critical_differences, covered),
        "tex": to_latex(board, [*matched, *further], covered),
        "html": render(
            board,
            computed.rows,
            matched,
            records,
            make_sections(board, computed, beside),
            covered,
            analysis.standings,
        ),
    }
    for ending, text in documents.items():
        with atomic_file(results / f"leaderboard.{ending}") as file:
            file.write(text.encode())
    best = {
        "best.txt": best_text(rows, analysis.standings, covered),
        "best.json": best_json(rows, analysis.standings, covered),
    }
    for name, text in best.items():
        with atomic_file(results / name) as file:
            file.write(text.encode())
    if not covered.missing:
        shutil.rmtree(results / PARTIAL, ignore_errors=True)


def literature_markdown(params: Params, board: str, store: Store, published: Path) -> str:
    """Write the published results beside the rows of a board as one table in Markdown.

    Raises
    ------
    BenchError
        If cells of the board have no record, or the published results are not valid.
    """
    rows = make_rows(_collect(params, board, store, partial=False)[0])
    found = literature(load_published(published), params, board, rows)
    table = literature_table(board, found)
    return f"{table.note}\n\n{table_markdown(table)}"


@contextmanager
def _no_collector() -> Iterator[None]:
    """Pause the garbage collector, which would scan thousands of new records many times."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # records have no reference cycles
        if running:
            gc.enable()


def update_tables(params: Params, board: str, store: Store, path: Path) -> None:
    """Write the tables of a board, or its summary, between the markers in a document.

    The tables stand between ``<!-- board: NAME -->`` and ``<!-- end of board: NAME -->``, the
    summary between ``<!-- summary: NAME -->`` and ``<!-- end of summary: NAME -->``.

    Raises
    ------
    BenchError
        If cells have no record, or the document has no markers.
    """
    records = collect([*params.cells(board), *params.controls(board, store)], store)
    analysis = analyse(make_rows(records))
    rows = analysis.rows
    tables = [*make_tables(rows, analysis.standings), *paper_tables(rows, records)]
    if aimed := synops_target_tables(rows):
        tables += [*aimed, *synops_tables(analysis.standings)]
    whole = "\n".join(f"**{t.title}.** {t.note}\n\n{table_markdown(t)}" for t in tables)
    document = read_text(path)
    updated = replace_between(document, f"board: {board}", whole)
    summary = summary_markdown(rows)
    updated = replace_between(updated or document, f"summary: {board}", summary) or updated
    if updated is None:
        raise BenchError(
            f"{path} has no lines '<!-- board: {board} -->' and '<!-- end of board: {board} -->'; "
            "add both lines where the tables should be."
        )
    with atomic_file(path) as file:
        file.write(updated.encode())
