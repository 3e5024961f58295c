"""The page: one HTML file that works offline, asks nobody for anything, and escapes everything."""

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

from pipelines.metrics.numbers import decimal, percent
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import LISTED, RANKED, Row
from pipelines.report.page.cards import make_cards
from pipelines.report.page.curves import SERIES_COLOURS, chart_data, series_order
from pipelines.report.page.origin import make_origin, read_citation
from pipelines.report.page.overview import make_overview
from pipelines.report.tables.density import COLUMNS
from pipelines.report.tables.table import Table

_WEB = Path(__file__).parent / "web"
#: Joined to one script in this order; each may use what stands before it.
_SCRIPTS = ("state.js", "chart.js", "tables.js", "page.js")


@dataclass(frozen=True)
class Section:
    """A part of the page after the boards: words, a picture, tables, in this order.

    Parameters
    ----------
    anchor, title
        Letters and dashes for the address, and the heading.
    note
        What it shows and how to read it.
    figure
        An SVG document, or nothing. It is shown as an image, so nothing in it can run.
    alternative
        What the figure shows, for those who do not see it.
    tables
        Tables of any columns, under their titles; a row has to have `method` and `is_reference`.
    """

    anchor: str
    title: str
    note: str
    figure: str = ""
    alternative: str = ""
    tables: tuple[Table, ...] = ()

    @property
    def figure_address(self) -> str:
        """The figure as an address that needs no file."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.figure.encode()).decode()}"


def templates() -> jinja2.Environment:
    """Templates of the page and of the site; what they are filled with is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_WEB),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Jinja's `tojson` also escapes what would end a script element.
    environment.policies["json.dumps_kwargs"] = {
        "sort_keys": True,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    environment.filters["plural"] = lambda noun, number: noun if number == 1 else f"{noun}s"
    return environment


def style_sheet() -> str:
    """The style that the page and the site share."""
    return (_WEB / "page.css").read_text()


def slug(title: str) -> str:
    """Letters, digits and dashes of a heading, as permalinks name a column."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def sort_value(value: Any) -> str:
    """What a cell is sorted by: six digits are enough; nothing for a missing value."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _source(hashed: str) -> str:
    """Name an inline text in a content security policy: nothing but this text may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(hashed.encode()).digest()).decode()}'"


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _budgets(records: Sequence[RunRecord]) -> dict[str, dict[str, dict[str, int]]]:
    """Workload -> track -> its budget."""
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
) -> str:
    """Fill the templates.

    Parameters
    ----------
    board
        Name of the board.
    rows
        What the curves are drawn from.
    tables
        What to show; those with other rows than `Row` have no curves.
    records
        Where facts about the runs come from.
    sections
        Further parts, shown after the boards and before the methods.
    """
    environment = templates()
    environment.filters |= {
        "slug": slug,
        "sort_value": sort_value,
        "percent": percent,
        "decimal": decimal,
    }
    style = style_sheet()
    script = "\n".join((_WEB / name).read_text() for name in _SCRIPTS)
    methods = series_order(rows)
    origin = make_origin(records)
    return environment.get_template("page.html.j2").render(
        board=board,
        columns=COLUMNS,
        tables=tables,
        sections=sections,
        budgets=_budgets(records),
        settings={r.spec.workload: r.spec.settings for r in records},
        colours={name: i % SERIES_COLOURS for i, name in enumerate(methods)},
        chart=chart_data(rows),
        overview=make_overview(rows),
        listed=LISTED,
        ranked=RANKED,
        cards=make_cards(records),
        origin=origin,
        citation=read_citation(board, origin.newest),
        cells=len(records),
        seeds=len({record.spec.seed for record in records}),
        good=sum(record.status == "ok" for record in records),
        version=version("dpap-bench"),
        policy=_policy(style, script),
        # Texts of ours: nothing of a record is in them.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
    )
