"""The page: one HTML file that works offline, with everything escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from pipelines.core.methods import methods
from pipelines.core.record import RunRecord
from pipelines.report.figures import figure_name
from pipelines.report.tables import COLUMNS, Table

_HERE = Path(__file__).parent


def _script_json(value: Any) -> Markup:
    """JSON that is safe inside a script element."""
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - every character that could end the element is escaped


def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return bundle.replace("</script", "<\\/script")


def _tracks(records: Sequence[RunRecord]) -> dict[str, dict[str, dict[str, Any]]]:
    """Workload -> track -> its figure and its budget."""
    tracks: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        spec = record.spec
        tracks.setdefault(spec.workload, {})[spec.track] = {
            "figure": figure_name(spec.workload, spec.track),
            "samples": record.budget,
            "epochs": spec.recipe.epochs,
        }
    return {workload: dict(sorted(found.items())) for workload, found in tracks.items()}


def render(
    board: str,
    tables: Sequence[Table],
    figures: Mapping[str, dict[str, Any]],
    records: Sequence[RunRecord],
) -> str:
    """Fill the template.

    Parameters
    ----------
    board
        Name of the board.
    tables, figures
        What to show; figures by `figure_name`, as Vega-Lite.
    records
        Where facts about the runs come from.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    seeds = sorted({record.spec.seed for record in records})
    names = sorted({record.spec.method for record in records})
    return environment.get_template("page.html.j2").render(
        board=board,
        columns=COLUMNS,
        tables=tables,
        workloads=_tracks(records),
        figures=_script_json(figures),
        settings={r.spec.workload: r.spec.settings for r in records},
        methods=[methods()[name].info for name in names if name in methods()],
        cells=len(records),
        good=sum(record.status == "ok" for record in records),
        seeds=seeds,
        environments=sorted(
            {
                f"{e.processor}, {e.device}, {e.threads} thread, Python {e.python}, "
                f"torch {e.torch}, snnTorch {e.snntorch}, torch-pruning {e.torch_pruning}"
                for e in (record.environment for record in records)
            }
        ),
        digests=sorted({f"{r.spec.method} {r.code_digest[:12]}" for r in records}),
        version=version("dpap-bench"),
        # The libraries are trusted text: nothing of a record is in them.
        style=Markup((_HERE / "page.css").read_text()),  # noqa: S704
        script=Markup((_HERE / "page.js").read_text()),  # noqa: S704
        vega=Markup(_vega()),  # noqa: S704
    )
