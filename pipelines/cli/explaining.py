"""The command that explains one run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import project_root


def explain(
    run: Annotated[str, typer.Argument(help="Run id, or its first characters.")],
    to: Annotated[
        Path | None, typer.Option(help="Target folder; default: results/local/explain.")
    ] = None,
) -> None:
    """Explain what a run pruned, and why.

    Shows what died when, what the scores of its method knew, and how its layers fire.
    The run is repeated. At three moments, each unit is removed alone, and the method's scores are
    compared with the increase of the loss on validation samples.
    """
    from pipelines.export.explanation import explain as explain_run
    from pipelines.export.explanation import explanation_figure, explanation_text
    from pipelines.export.rerun import find_record
    from pipelines.report.charts.vega import draw, save

    root = project_root()
    record = find_record(root, run)
    print(f"running {record.spec.label()} again", file=sys.stderr)
    found = explain_run(root, record)
    print(explanation_text(found))
    folder = to or root / "results" / "local" / "explain"
    save(draw(explanation_figure(found)), folder, record.run_id)
    print(f"Figure: {folder / record.run_id}.svg")
