"""The bundle of an exported network: a folder with its weights, its NIR graph and a README."""

from __future__ import annotations

from pathlib import Path

from pipelines.common.files import atomic_file
from pipelines.export import nir
from pipelines.export.network_file import write_network
from pipelines.networks.network import Network
from pipelines.records.record import RunRecord

#: Names of the files of a bundle; a network that NIR cannot express has no graph.
FILES = ("README.md", "network.nir", "network.safetensors")

_README = """\
# {label}

The network that run {run_id} ended with, after physical removal: {layout}.
{accuracy}
- `network.safetensors`: its weights (pruned ones are zeros), its silenced time steps if there are
  any, and metadata from which the network is built.
{graph}
```python
import torch
from pipelines.export.network_file import load_network

network = load_network("network.safetensors")
scores = network(torch.zeros(1, {shape}))  # [1, {classes}]
```
"""
_GRAPH = """\
- `network.nir`: the same network for neuromorphic tools, `nir.read("network.nir")`. One time step
  is one Euler step of `dt` seconds; the class scores are the mean of the output over `time_steps`.
  Both numbers are in the metadata of the graph.
"""


def write_bundle(folder: Path, record: RunRecord, network: Network) -> str | None:
    """Write the files of a network into a folder.

    Parameters
    ----------
    folder
        The folder; it is created if it does not exist.
    record
        The record of the run that gave the network, with an outcome.
    network
        The network after physical removal.

    Returns
    -------
    str or None
        A sentence that says why there is no NIR graph; None if there is one.

    Raises
    ------
    BenchError
        If a file cannot be written.
    """
    origin = {
        "run_id": record.run_id,
        "code_digest": record.code_digest,
        "label": record.spec.label(),
    }
    write_network(folder / "network.safetensors", network, origin)
    no_graph = nir.refusal(network)
    if no_graph is None:
        nir.write_graph(folder / "network.nir", network, origin)
    else:
        (folder / "network.nir").unlink(missing_ok=True)  # an earlier export may have left one
    with atomic_file(folder / "README.md") as file:
        file.write(_readme(record, network, no_graph).encode())
    return no_graph


def _readme(record: RunRecord, network: Network, no_graph: str | None) -> str:
    assert record.outcome is not None
    outcome = record.outcome
    accuracy, split = outcome.test_accuracy, "test"
    if accuracy is None:  # a tuning trial does not open the test split
        accuracy, split = outcome.validation_accuracy, "validation"
    return _README.format(
        label=record.spec.label(),
        run_id=record.run_id,
        layout=network.layout,
        accuracy=f"Its {split} accuracy is {100 * accuracy:.2f} %, its density "
        f"{outcome.cost.density:.4f}.\n",
        graph=_GRAPH if no_graph is None else f"- `network.nir` is left out: {no_graph}\n",
        shape=", ".join(map(str, network.input_shape)),
        classes=network.classes,
    )
