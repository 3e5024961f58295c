"""The file of a finished network, ``network.safetensors``: its weights, and what it is."""

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

SCHEMA = 1
#: Begins the names of silenced steps, as in the files of masks; no weight has a slash in its name.
STEPS = "steps/"


def write_network(path: Path, network: Network, origin: Mapping[str, str]) -> None:
    """Write a network; a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path
        The file.
    network
        After physical removal; masked weights are zeros.
    origin
        Where it comes from (run id, code digest); kept beside what `load_network` needs.

    Raises
    ------
    BenchError
        If the disk does not take it.
    """
    tensors = network.state_dict() | {f"{STEPS}{n}": kept for n, kept in network.gates.items()}
    metadata = {
        "schema": str(SCHEMA),
        "layout": network.layout,
        "network": network.spec.model_copy(update={"layout": network.layout}).model_dump_json(),
        "execution": network.execution.model_dump_json(),
        "input_shape": json.dumps(network.input_shape),
        "classes": str(network.classes),
    }
    here = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as file:
        file.write(save(here, {**origin, **metadata}))


def load_network(path: Path | str) -> Network:
    """Read a network that `write_network` wrote, ready for evaluation on the CPU.

    Returns
    -------
    Network
        Class scores [B, classes] of inputs [B, C, H, W] or [T, B, C, H, W]; silenced steps are
        silent.

    Raises
    ------
    BenchError
        If the file is none of these, or was written by a newer program.
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
