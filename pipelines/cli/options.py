"""Shared by several commands: options, the project's folder, and JSON output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
DeviceName = Annotated[
    Literal["cpu", "cuda"] | None,
    typer.Option(help="Device; default: compute.device in params.yaml."),
]
DataName = Annotated[
    str, typer.Argument(help="Name of a data set; 'dpap-bench list data' shows all.")
]
BoardName = Annotated[
    str, typer.Option(help="Name of a board; 'dpap-bench list boards' shows all.")
]
OnlyWorkloads = Annotated[
    list[str] | None,
    typer.Option(help="Only this workload; may be given several times. Default: all."),
]
OnlyMethods = Annotated[
    list[str] | None,
    typer.Option(help="Only this method; may be given several times. Default: all."),
]
OnlyDensities = Annotated[
    list[str] | None,
    typer.Option(
        "--density",
        help="Only this target density, or 'emergent'; may be given several times. The unpruned "
        "network comes with each. Default: all.",
    ),
]
Rerun = Annotated[
    bool,
    typer.Option(help="Compute some cells, chosen at random, again, and compare the outcomes."),
]
Uri = Annotated[
    str | None,
    typer.Option(help="MLflow tracking URI; default: MLFLOW_TRACKING_URI, or mlflow.db here."),
]


def project_root() -> Path:
    """Return the project's folder: the working directory or one of its parents.

    Raises
    ------
    BenchError
        If none of them holds params.yaml.
    """
    from pipelines.boards.project import find_root

    return find_root(Path.cwd())


def print_json(document: Any) -> None:
    """Print a document for other programs to read."""
    print(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
