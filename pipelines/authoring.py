"""Commands for people who write methods."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.core.errors import BenchError, InputError

Names = Annotated[list[str] | None, typer.Argument(help="See: dpap-bench list methods")]


def check(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Every method.")] = False,
) -> None:
    """Hold methods to the contract; each fault is one line that says what to do."""
    if bool(names) == everything:
        raise InputError("name the methods to check, or give --all.")
    from pipelines.contract.check import faults, find
    from pipelines.core import data
    from pipelines.grid import find_root, load_params

    root = find_root(Path.cwd())
    params = load_params(root)
    kinds = find(names or ())
    data.fetch("digits", root / "data")
    digits = data.load_training("digits", root / "data")
    broken = 0
    for name, kind in kinds.items():
        print(f"checking {name}", file=sys.stderr)
        found = list(faults(kind, params.methods.get(name), digits))
        for where, sentence in found:
            print(f"fault  {name}{f' ({where})' if where else ''}: {sentence}", flush=True)
        if not found:
            print(f"ok     {name} ({', '.join(kind.info.granularities)})", flush=True)
        broken += bool(found)
    if broken:
        raise BenchError(f"{broken} of {len(kinds)} methods break the contract (see above).")
