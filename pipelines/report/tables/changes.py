"""Tables of the changes between two times of a board."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pipelines.metrics.numbers import MISSING
from pipelines.metrics.table import ACCURACY, METRICS
from pipelines.report.analysis.changes import Changes, Move, Shared
from pipelines.report.analysis.rows import Row
from pipelines.report.formats.markdown import table_markdown
from pipelines.report.formats.table import Column, R, Table
from pipelines.report.tables.columns import METHOD, TARGET, compared, estimated, plus_minus
from pipelines.report.tables.density import status


def _rank(row: Row) -> str:
    return MISSING if row.rank is None else str(row.rank)


def _arrow(text: Callable[[Row], str]) -> Callable[[Move], str]:
    """Print old → new, or one text if both are equal."""

    def both(move: Move) -> str:
        old, new = text(move.old), text(move.new)
        return new if old == new else f"{old} → {new}"

    return both


def _cost(name: str) -> Column[Move]:
    """Column of a cost, left out if no row moved in it."""
    metric = METRICS[name]

    def moved(move: Move) -> float | None:
        old, new = move.old.means[name], move.new.means[name]
        return None if old == new else (new or 0) - (old or 0)

    text = _arrow(lambda row: metric.format(row.means[name]))
    return Column(metric.title, f"{metric.help} Old → new.", text, moved, optional=True)


def _changed(shared: Shared) -> str:
    """Say in what the cells of a row differ, and how many of them."""
    counts = {
        "results": shared.results,
        "settings": shared.settings,
        "code": shared.code,
        "environment": shared.environment,
    }
    said = [f"{what} {number} of {shared.cells}" for what, number in counts.items() if number]
    return ", ".join(said) or "none"


_ROW_COLUMNS: tuple[Column[Row], ...] = (
    METHOD,
    TARGET,
    Column("rank", "Rank at the same density.", _rank, lambda row: row.rank, optional=True),
    estimated(ACCURACY.title, ACCURACY.help, lambda row: row.accuracy),
    Column("runs", "Runs by status.", status, status),
)

_MOVE_COLUMNS: tuple[Column[Move], ...] = (
    METHOD,
    Column(TARGET.title, TARGET.help, lambda m: TARGET.text(m.new), lambda m: TARGET.value(m.new)),
    Column(
        ACCURACY.title,
        f"{ACCURACY.help} Old → new.",
        _arrow(lambda row: plus_minus(row.accuracy)),
        lambda m: m.new.accuracy.mean if m.new.accuracy else None,
    ),
    compared("difference", "New minus old accuracy, in points.", lambda m: m.difference),
    Column(
        "rank",
        "Rank at the same density. Old → new.",
        _arrow(_rank),
        lambda m: m.new.rank or m.old.rank,
        optional=True,
    ),
    _cost("synops"),
    _cost("parameters"),
    Column("runs", "Runs by status. Old → new.", _arrow(status), lambda m: status(m.new)),
    Column(
        "changed cells",
        "How many of the cells that both have differ, controls included.",
        lambda m: _changed(m.shared),
        lambda m: m.shared.results,
    ),
)


def changes_markdown(board: str, old: str, new: str, found: Changes) -> str:
    """Write the changes of a board: numbers of rows, then tables of rows that changed.

    Parameters
    ----------
    board
        Name of the board.
    old, new
        What was compared, in words.
    found
        The changes.
    """
    parts = [f"# Board {board}: {old} → {new}\n\n{summary(found)}\n"]
    parts += _part("Came", found.came, _ROW_COLUMNS, lambda row: row)
    parts += _part("Went", found.went, _ROW_COLUMNS, lambda row: row)
    parts += _part("Moved", found.moved, _MOVE_COLUMNS, lambda move: move.new)
    if found.moved:
        parts.append(
            "Difference: mean of new minus old accuracy over the seeds that both have, in points, "
            "± half-width of its\n95 % interval. The intervals are not corrected for the number of "
            "rows.\n"
        )
    return "\n".join(parts)


def summary(found: Changes) -> str:
    """Return the numbers of rows and cells that changed, in two sentences."""
    number, shared = len(found.came), found.shared
    return (
        f"{number} {'row' if number == 1 else 'rows'} came, {len(found.went)} went, "
        f"{len(found.moved)} moved, {found.unchanged} unchanged.\n"
        f"Of the {shared.cells} cells that both have, {shared.results} have other results, "
        f"{shared.settings} other settings, {shared.code} other code,\n"
        f"and {shared.environment} another environment."
    )


def _part(
    title: str, lines: Sequence[R], columns: Sequence[Column[R]], row: Callable[[R], Row]
) -> Iterator[str]:
    """Write one table for each workload, granularity and track."""
    tables: dict[tuple[str, str, str], list[R]] = {}
    for line in lines:
        one = row(line)
        tables.setdefault((one.workload, one.track, one.granularity), []).append(line)
    if tables:
        yield f"## {title}\n"
    for key, own in tables.items():
        shown = tuple(
            c for c in columns if not c.optional or any(c.value(line) is not None for line in own)
        )
        table = Table(*key, tuple(own), shown, "")
        yield f"### {table.title}\n\n{table_markdown(table)}"
