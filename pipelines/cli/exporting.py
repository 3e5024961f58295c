"""The command that exports the pruned network of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import project_root
from pipelines.common.errors import InputError


def export(
    run: Annotated[str, typer.Argument(help="Run id, or its first characters.")],
    to: Annotated[
        Path | None, typer.Option(help="Target folder; default: results/local/export/RUN_ID.")
    ] = None,
) -> None:
    """Write the pruned network of a run, for deployment.

    The run is repeated, because records hold no weights. The files are safetensors and, if every
    layer can be expressed in it, NIR.
    """
    from pipelines.export.bundle import FILES, write_bundle
    from pipelines.export.rerun import find_record, require_same_network, rerun

    root = project_root()
    record = find_record(root, run)
    if record.outcome is None:
        raise InputError(
            f"run {record.run_id} has status {record.status} and no network to export."
        )
    if record.spec.settings.network.factory:
        raise InputError(
            f"the network of run {record.run_id} is a module of your own, which has no file format "
            "here; train it with dpap.attach, and save it with torch.save."
        )
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
        print(f"network.nir is not written: {no_graph}", file=sys.stderr)
