"""Tables as LaTeX; they need the packages booktabs and graphicx."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.boards.coverage import Coverage
from pipelines.report.formats.markdown import PARTIAL
from pipelines.report.formats.table import Table

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "\N{EN DASH}": "--",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
    }
    | {character: f"\\{character}" for character in "&%$#_"}
)


def escape(text: str) -> str:
    """Escape a text, so that LaTeX prints it and runs no command in it."""
    return text.translate(_ESCAPES)


def to_latex(board: str, tables: Sequence[Table], covered: Coverage | None = None) -> str:
    """Write every table of a board as a float of the width of the text."""
    head = f"% Leaderboard: {board}. Needs \\usepackage{{booktabs,graphicx}}.\n"
    if covered and covered.missing:
        head += f"\n\\textbf{{Partial board: {escape(covered.sentence)}.}} {escape(PARTIAL)}\n"
    return head + "".join(f"\n{_table(table)}" for table in tables)


def _table(table: Table) -> str:
    first, *others = table.columns
    lines = [[column.title for column in (first, *others)]]
    lines += [[column.text(row) for column in table.columns] for row in table.rows]
    header, *body = (" & ".join(map(escape, line)) + r" \\" for line in lines)
    label = re.sub(r"[^a-z0-9]+", "-", table.title.lower())
    missing = f" {table.missing}." if table.missing else ""
    rules = "\n".join([r"\toprule", header, r"\midrule", *body, r"\bottomrule"])
    return (
        "\\begin{table*}\n\\centering\n"
        f"\\caption{{{escape(f'{table.title}.{missing} {table.note}')}}}\n\\label{{tab:{label}}}\n"
        f"\\resizebox{{\\textwidth}}{{!}}{{\\begin{{tabular}}{{l{'r' * len(others)}}}\n"
        f"{rules}\n\\end{{tabular}}}}\n\\end{{table*}}\n"
    )
