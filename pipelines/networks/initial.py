"""What a run is built from: random streams of a seed, the initial network, what can be pruned."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch

from baselines.shared.dependency_graph import unit_structure
from baselines.shared.groups import Structure, weight_structure
from pipelines.networks.network import Network, first_step
from pipelines.settings.network import READOUT, Execution, NetworkSpec


def stream(seed: int, name: str) -> torch.Generator:
    """Return a generator of its own for each purpose; paired across methods by the seed."""
    value = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(value)


def build_network(
    spec: NetworkSpec,
    shape: tuple[int, int, int],
    classes: int,
    seed: int,
    execution: Execution = Execution(),  # noqa: B008 -- frozen
) -> Network:
    """Build the initial network of a seed; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "network").initial_seed())
        return Network(spec, shape, classes, execution)


def build_structure(network: Network, granularity: str) -> Structure:
    """What can be pruned at a granularity."""
    if granularity in ("none", "unstructured"):
        structure = weight_structure(network, READOUT)
    else:
        example = next(network.parameters()).new_zeros(1, *network.input_shape)
        structure = unit_structure(network, READOUT, example, first_step)
    drives = {stage.shortcut.name: stage.name for stage in network.stages if stage.shortcut}
    layers = (replace(layer, drives=drives.get(layer.name)) for layer in structure.layers)
    return replace(structure, layers=tuple(layers))
