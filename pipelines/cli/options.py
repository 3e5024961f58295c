"""What several verbs share: options, the project's folder, JSON on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
On = Annotated[
    Literal["cpu", "cuda"] | None, typer.Option(help="Default: compute.device of params.yaml.")
]
Uri = Annotated[
    str | None,
    typer.Option(help="MLflow tracking URI; default: MLFLOW_TRACKING_URI, or mlflow.db here."),
]


def project_root() -> Path:
    """Return the project's folder, from the working directory upwards."""
    from pipelines.boards.project import find_root

    return find_root(Path.cwd())


def print_json(document: Any) -> None:
    """Print a document that programs read."""
    print(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
