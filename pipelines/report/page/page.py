"""The page: one HTML file that works offline, makes no request, and escapes all texts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipelines.boards.coverage import Coverage
from pipelines.metrics.numbers import decimal, percent
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import LISTED, RANKED, Row
from pipelines.report.analysis.standings import Standing
from pipelines.report.formats.markdown import PARTIAL
from pipelines.report.formats.table import Table
from pipelines.report.page.cards import make_cards
from pipelines.report.page.curves import SERIES_COLOURS, chart_data, series_order
from pipelines.report.page.histories import HEIGHT, WIDTH
from pipelines.report.page.origin import make_origin, read_citation
from pipelines.report.page.overview import make_overview, smallest_differences
from pipelines.report.tables.columns import plus_minus
from pipelines.report.tables.density import COLUMNS

_WEB = Path(__file__).parent / "web"
#: Joined to one script in this order; each may use the ones before it.
_SCRIPTS = ("state.js", "chart.js", "tables.js", "page.js")


@dataclass(frozen=True)
class Section:
    """A section of the page after the board: a note, a figure and tables, in this order.

    Parameters
    ----------
    anchor, title
        Fragment of the address (letters and dashes), and the heading.
    note
        What the section shows and how to read it.
    figure
        An SVG document or an empty text. It is shown as an image, so no script in it can run.
    alternative
        Text alternative of the figure.
    tables
        Tables with any columns, each under its title.
    """

    anchor: str
    title: str
    note: str
    figure: str = ""
    alternative: str = ""
    tables: tuple[Table, ...] = ()

    @property
    def figure_address(self) -> str:
        """The figure as a data address."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.figure.encode()).decode()}"


def templates() -> jinja2.Environment:
    """Templates of the page and of the site, which escape all values."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_WEB),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # `tojson` also escapes every character that could end a script element.
    environment.policies["json.dumps_kwargs"] = {
        "sort_keys": True,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    environment.filters["plural"] = lambda noun, number: noun if number == 1 else f"{noun}s"
    return environment


def style_sheet() -> str:
    """Style sheet of the page and of the site."""
    return (_WEB / "page.css").read_text()


def slug(title: str) -> str:
    """Reduce a heading to letters, digits and dashes; links to a view name columns so."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def sort_value(value: Any) -> str:
    """Sort key of a cell as text: numbers have six digits, a missing value is empty."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _source(hashed: str) -> str:
    """Source of a content security policy that allows this inline text only, by its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(hashed.encode()).digest()).decode()}'"


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _budgets(records: Sequence[RunRecord]) -> dict[str, dict[str, dict[str, int]]]:
    """Budget by workload and track."""
    budgets: dict[str, dict[str, dict[str, int]]] = {}
    for record in records:
        spec = record.spec
        budgets.setdefault(spec.workload, {})[spec.track] = {
            "samples": record.budget,
            "epochs": spec.recipe.epochs,
        }
    return {workload: dict(sorted(found.items())) for workload, found in budgets.items()}


def render(
    board: str,
    rows: Sequence[Row],
    tables: Sequence[Table],
    records: Sequence[RunRecord],
    sections: Sequence[Section] = (),
    covered: Coverage | None = None,
    standings: Sequence[Standing] = (),
) -> str:
    """Render the page of a board.

    Parameters
    ----------
    board
        Name of the board.
    rows
        All rows, which the charts are drawn from.
    tables
        Tables of the board; only tables of `Row` have a chart.
    records
        Their records.
    sections
        Further sections, between the board and the methods.
    covered
        Which cells of the board have a record; None: all.
    standings
        Comparisons of the rows of each table.
    """
    environment = templates()
    environment.filters |= {
        "slug": slug,
        "sort_value": sort_value,
        "percent": percent,
        "decimal": decimal,
        "plus_minus": plus_minus,
    }
    style = style_sheet()
    script = "\n".join((_WEB / name).read_text() for name in _SCRIPTS)
    methods = series_order(rows)
    origin = make_origin(records)
    overview = make_overview(rows, standings)
    return environment.get_template("page.html.j2").render(
        board=board,
        columns=COLUMNS,
        tables=tables,
        sections=sections,
        budgets=_budgets(records),
        settings={r.spec.workload: r.spec.settings for r in records},
        colours={name: i % SERIES_COLOURS for i, name in enumerate(methods)},
        chart=chart_data(rows),
        overview=overview,
        smallest=smallest_differences(overview),
        partial=covered if covered and covered.missing else None,
        partial_note=PARTIAL,
        listed=LISTED,
        ranked=RANKED,
        cards=make_cards(records),
        drawn={"width": WIDTH, "height": HEIGHT},
        origin=origin,
        citation=read_citation(board, origin.newest),
        cells=len(records),
        seeds=len({record.spec.seed for record in records}),
        good=sum(record.status == "ok" for record in records),
        version=version("dpap-bench"),
        policy=_policy(style, script),
        # Our own texts, which contain nothing of a record.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
    )
