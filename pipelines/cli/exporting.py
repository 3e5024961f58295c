"""The command that exports the pruned network of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.errors import InputError


def export(
    run: Annotated[str, typer.Argument(help="Run id, or how it begins.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder; default: results/local/export/RUN_ID.")
    ] = None,
) -> None:
    """Run a cell again and write its pruned network: safetensors, and NIR where possible."""
    from pipelines.boards.project import find_root
    from pipelines.export.bundle import FILES, write_bundle
    from pipelines.export.rerun import find_record, require_same_network, rerun

    root = find_root(Path.cwd())
    record = find_record(root, run)
    if record.outcome is None:
        raise InputError(f"run {record.run_id} is {record.status}: it left no network.")
    print(f"running {record.spec.label()} again", file=sys.stderr)
    again, network = rerun(root, record)
    require_same_network(record, again, network)
    print("the second run gave the same network; writing it", file=sys.stderr)
    folder = to or root / "results" / "local" / "export" / record.run_id
    no_graph = write_bundle(folder, again, network)
    for name in FILES:
        if (folder / name).exists():
            print(folder / name)
    if no_graph:
        print(f"network.nir is left out: {no_graph}", file=sys.stderr)
