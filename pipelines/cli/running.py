"""Commands that fetch data, run one cell, and write the digests of the code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import (
    DataName,
    DeviceName,
    Json,
    Uri,
    print_json,
    project_root,
)
from pipelines.cli.tracking import run_live
from pipelines.common.errors import BenchError, InputError


def fetch(
    name: DataName,
    checksums: Annotated[
        Path | None,
        typer.Option(help="Write the SHA-256 of each file of the data set to this file, for DVC."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Download a data set and verify it.

    Nothing is downloaded if it is complete.
    """
    from pipelines import data

    folder = data.fetch(name, project_root() / "data")
    if checksums is not None:
        _write_checksums(folder, checksums)
    if as_json:
        print_json({"name": name, "path": str(folder)})
    else:
        print(f"{name} is complete in {folder}")


def _write_checksums(folder: Path, path: Path) -> None:
    """Write the checksums of all files of a data set in the format of ``sha256sum``."""
    from pipelines.audit.seal import checksums
    from pipelines.common.files import atomic_file

    files = {
        file.relative_to(folder.parent).as_posix(): file
        for file in folder.rglob("*")
        if file.is_file()
    }
    with atomic_file(path) as out:
        out.write(checksums(files).encode())


def run(
    workload: Annotated[
        str, typer.Option(help="Name of a workload; 'dpap-bench list workloads' shows all.")
    ],
    method: Annotated[
        str,
        typer.Option(help="METHOD or METHOD:VARIANT; 'dpap-bench list methods' shows all methods."),
    ],
    density: Annotated[
        str | None,
        typer.Option(
            help="Target density, kept / prunable weights in (0, 1]; or 'emergent': the method "
            "finds the density."
        ),
    ] = None,
    synops: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Target SynOps per sample, in the place of a density. The density is searched on "
            "validation samples.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    granularity: Annotated[
        str | None,
        typer.Option(
            help="What is removed: structured, hybrid, unstructured or spatio-temporal. Default: "
            "the first that the method supports."
        ),
    ] = None,
    track: Annotated[
        str,
        typer.Option(help="from-scratch, or post-training: start from a trained dense network."),
    ] = "from-scratch",
    device: DeviceName = None,
    again: Annotated[bool, typer.Option(help="Run even if a valid record exists.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Show the curve in MLflow while the cell trains.")
    ] = False,
    uri: Uri = None,
    as_json: Json = False,
) -> None:
    """Run one cell and print its result.

    A cell is one workload, method, granularity, target, seed and track. The record is written to
    results/local; no board changes.
    """
    from pipelines import data
    from pipelines.boards.params import load_params, read_density
    from pipelines.engines.engine import Terms, run_cells
    from pipelines.records.store import Store
    from pipelines.settings.spec import SYNOPS

    if uri and not live:
        raise InputError("--uri says where --live writes to; give both, or neither.")
    root = project_root()
    target = read_density(method, density) if synops is None or density else SYNOPS
    params = load_params(root, device)
    spec = params.spec(workload, method, granularity, target, seed, track, synops)
    store = Store(root / "results" / "local")
    record = None if again else store.valid(spec)
    if record is None:
        data.fetch(spec.settings.data, root / "data")
        if live:
            from pipelines.report.tracking.target import choose_target

            record = run_live(spec, root, store, choose_target(root, uri))
        else:
            terms = Terms(anew=again)
            (record,) = run_cells([spec], root / "data", store, "serial", 1, terms=terms)
    elif live:
        print("a valid record exists, so nothing is trained; see --again.", file=sys.stderr)
    path = store.path(spec)
    if as_json:
        print_json(json.loads(record.to_json()) | {"path": str(path)})
    else:
        from pipelines.report.tables.run_line import one_line

        print(f"{one_line(record)}  {path.relative_to(root)}")
    if record.status != "ok":
        raise BenchError(f"the run is {record.status}: {record.message}")


def digest(
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether the file is up to date.")
    ] = False,
) -> None:
    """Write the code digests that DVC reads.

    Writes those of all boards to results/code.yaml.
    There is one digest for each board and method. DVC reruns the stages of a method when its digest
    changes.
    """
    from pipelines.boards.code_digests import FILE, require_code_digests, write_code_digests
    from pipelines.boards.params import load_params

    root = project_root()
    params = load_params(root)
    if check:
        require_code_digests(root, params)
        print(f"{FILE} is up to date")
    elif write_code_digests(root, params):
        print(f"{FILE} written")
    else:
        print(f"{FILE} has not changed")
