"""The command that hands out the pruned network of a run, for deployment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.common.errors import BenchError, InputError

if TYPE_CHECKING:
    from pipelines.networks.network import Network
    from pipelines.records.record import RunRecord

#: Where records are, below results/; a run that is in several is taken from the first.
PLACES = ("boards", "local", "tuning")

#: What `write` writes.
FILES = ("README.md", "network.nir", "network.safetensors")

_README = """\
# {label}

The network that run {run_id} ended with, after physical removal: {layout}.
{accuracy}
- `network.safetensors`: its weights (pruned ones are zeros), silenced time steps if it has any,
  and in the metadata all that is needed to build it.
{graph}
```python
import torch
from pipelines.export.network_file import load_network

network = load_network("network.safetensors")
scores = network(torch.zeros(1, {shape}))  # [1, {classes}]
```
"""
_GRAPH = """\
- `network.nir`: the same network for neuromorphic tools, `nir.read("network.nir")`. One step is one
  Euler step of `dt` seconds; the class scores are the mean of the output over `time_steps`. Both
  numbers are in the metadata of the graph.
"""


def export(
    run: Annotated[str, typer.Argument(help="Run id, or how it begins.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder; default: results/local/export/RUN_ID.")
    ] = None,
) -> None:
    """Run a cell again and write down its pruned network: safetensors, and NIR where it can be."""
    from pipelines.audit import faults as audit
    from pipelines.boards.project import find_root

    root = find_root(Path.cwd())
    record = find(root, run)
    if record.outcome is None:
        raise InputError(f"run {record.run_id} is {record.status}: it left no network.")
    print(f"running {record.spec.label()} again", file=sys.stderr)
    again, network = repeat(root, record)
    found = [*audit.differences(record, again), *_other_layout(record, network)]
    if found:
        raise BenchError(f"nothing is exported: the record of {record.run_id} {' It '.join(found)}")
    print("the network is the record's; writing it", file=sys.stderr)
    folder = to or root / "results" / "local" / "export" / record.run_id
    missing = write(folder, again, network)
    for file in filter(Path.exists, (folder / name for name in FILES)):
        print(file)
    if missing:
        print(f"network.nir is left out: {missing}", file=sys.stderr)


def find(root: Path, prefix: str) -> RunRecord:
    """Read the record whose run id begins with `prefix`, from any folder of records.

    Raises
    ------
    InputError
        If there is none, or several runs begin so.
    """
    from pipelines.records.record import read_record

    found: dict[str, Path] = {}
    for place in PLACES:
        for path in sorted((root / "results" / place).rglob("*.json")):
            if path.stem.startswith(prefix):
                found.setdefault(path.stem, path)
    if not found:
        raise InputError(
            f"no record in results/ has a run id that begins with '{prefix}'; the name of its "
            "file is its run id."
        )
    if len(found) > 1:
        some = ", ".join(sorted(found)[:3])
        raise InputError(f"{len(found)} runs begin with '{prefix}' ({some}, ...); give more of it.")
    (path,) = found.values()
    return read_record(path)


def repeat(root: Path, record: RunRecord) -> tuple[RunRecord, Network]:
    """Run the cell of a record again, and keep its network.

    Parameters
    ----------
    root
        The project's folder, for data, dense checkpoints and the parents of controls.
    record
        With an outcome.

    Returns
    -------
    RunRecord
        The record with what came out this time.
    Network
        After physical removal, in evaluation mode.

    Raises
    ------
    BenchError
        If the run does not reach its end this time, or its parent has no record.
    """
    from msgspec.structs import replace

    from pipelines import data
    from pipelines.records.digest import code_digest
    from pipelines.records.store import Store
    from pipelines.training import cell
    from pipelines.training.environment import environment
    from pipelines.training.machine import find_device

    spec, store = record.spec, Store(root / "results" / "records")
    data.fetch(spec.settings.data, root / "data")
    try:
        network, outcome, status = cell.final_network(
            spec, root / "data", store.checkpoints, store.parent(spec)
        )
    except BenchError:
        raise
    except Exception as error:  # a method may do anything
        reason = f"{type(error).__name__}: {error}"
        raise BenchError(f"a second run of {record.run_id} does not end ({reason}).") from error
    settings = spec.settings
    here = environment(spec.threads, settings.execution, find_device(spec.device), settings.network)
    digest = code_digest(spec.method)
    again = replace(record, status=status, outcome=outcome, environment=here, code_digest=digest)
    return again, network


def write(folder: Path, record: RunRecord, network: Network) -> str | None:
    """Write the files of a network; return why there is no graph, if there is none.

    Parameters
    ----------
    folder
        Made if it is not there.
    record
        Of the run that the network comes from.
    network
        After physical removal.

    Raises
    ------
    BenchError
        If the disk does not take it.
    """
    from pipelines.common.files import atomic_file
    from pipelines.export import nir as nir_graph
    from pipelines.export.network_file import write_network

    origin = {
        "run_id": record.run_id,
        "code_digest": record.code_digest,
        "label": record.spec.label(),
    }
    write_network(folder / "network.safetensors", network, origin)
    missing = nir_graph.refusal(network)
    if missing is None:
        nir_graph.write_graph(folder / "network.nir", network, origin)
    else:
        (folder / "network.nir").unlink(missing_ok=True)  # of another export
    with atomic_file(folder / "README.md") as file:
        file.write(_readme(record, network, missing).encode())
    return missing


def _readme(record: RunRecord, network: Network, missing: str | None) -> str:
    assert record.outcome is not None
    outcome = record.outcome
    accuracy, split = outcome.test_accuracy, "test"
    if accuracy is None:
        accuracy, split = outcome.validation_accuracy, "validation"
    return _README.format(
        label=record.spec.label(),
        run_id=record.run_id,
        layout=network.layout,
        accuracy=f"Its {split} accuracy is {100 * accuracy:.2f} %, its density "
        f"{outcome.cost.density:.4f}.\n",
        graph=_GRAPH if missing is None else f"- `network.nir` is left out: {missing}\n",
        shape=", ".join(map(str, network.input_shape)),
        classes=network.classes,
    )


def _other_layout(record: RunRecord, network: Network) -> list[str]:
    """Say that a second run has other widths, which `differences` allows on another machine."""
    assert record.outcome is not None
    if record.outcome.layout == network.layout:
        return []
    return [f"has the layout {record.outcome.layout}, a second run {network.layout}."]
