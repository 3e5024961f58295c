"""The file of a finished network: its weights, and metadata from which the network is built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.networks.network import Network
from pipelines.settings.network import Execution, NetworkSpec

#: Version of the file format; raise it with each change that older programs cannot read.
SCHEMA = 1
#: Prefix of the tensors that hold silenced time steps, as in files of masks. No weight has a slash
#: in its name.
STEPS = "steps/"


def write_network(path: Path, network: Network, origin: Mapping[str, str]) -> None:
    """Write a network to a safetensors file, atomically: no reader sees half a file.

    Parameters
    ----------
    path
        The file.
    network
        The network after physical removal; masked weights are zeros.
    origin
        Where the network comes from (run id, code digest, label). It is added to the metadata that
        `load_network` needs.

    Raises
    ------
    BenchError
        If the file cannot be written.
    """
    tensors = dict(network.state_dict())
    for name, kept in network.gates.items():
        tensors[f"{STEPS}{name}"] = kept
    metadata = {
        "schema": str(SCHEMA),
        "layout": network.layout,
        "network": network.spec.model_copy(update={"layout": network.layout}).model_dump_json(),
        "execution": network.execution.model_dump_json(),
        "input_shape": json.dumps(network.input_shape),
        "classes": str(network.classes),
    }
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as file:
        file.write(save(on_cpu, {**origin, **metadata}))


def load_network(path: Path | str) -> Network:
    """Read a file that `write_network` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Network
        The network on the CPU, in evaluation mode, its silenced time steps included. It maps inputs
        [B, C, H, W] or [T, B, C, H, W] to class scores [B, classes].

    Raises
    ------
    BenchError
        If the file cannot be read, holds no exported network, or was written by a newer program.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise BenchError(f"{path} cannot be read ({error}); export the run again.") from error
    if metadata.get("schema", "").isdecimal() and int(metadata["schema"]) > SCHEMA:
        raise BenchError(f"{path} was written by a newer program; update dpap-bench.")
    try:
        network = Network(
            NetworkSpec.model_validate_json(metadata["network"]),
            cast(tuple[int, int, int], tuple(json.loads(metadata["input_shape"]))),
            int(metadata["classes"]),
            Execution.model_validate_json(metadata["execution"]),
        )
        steps = {name: tensors.pop(name) for name in list(tensors) if name.startswith(STEPS)}
        network.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError, ValidationError) as error:
        raise BenchError(f"{path} holds no network that dpap-bench exported.") from error
    network.silence({name.removeprefix(STEPS): kept for name, kept in steps.items()})
    return network.eval()
