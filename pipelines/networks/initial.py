"""The start of a run: random streams, the initial network, and its prunable structure."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from baselines.shared.dependency_graph import unit_structure
from baselines.shared.groups import Structure, weight_structure
from pipelines.networks.network import Network, first_step
from pipelines.settings.network import READOUT, Execution, NetworkSpec

if TYPE_CHECKING:
    from pipelines.networks.own import OwnNetwork


def stream(seed: int, name: str) -> torch.Generator:
    """Return the random generator of one purpose, so that purposes do not disturb each other.

    Parameters
    ----------
    seed
        Seed of the run. All methods get the same stream for the same seed and name.
    name
        The purpose, such as ``network`` or ``batches``.
    """
    value = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(value)


def build_network(
    spec: NetworkSpec,
    shape: tuple[int, int, int],
    classes: int,
    seed: int,
    execution: Execution = Execution(),  # noqa: B008 -- frozen
    *,
    timed: bool = False,
) -> Network:
    """Build the initial network of a seed; the global random state does not change.

    Parameters
    ----------
    spec
        The network.
    shape
        Shape of its input at one time step, [C, H, W].
    classes
        Number of classes.
    seed
        Seed of the run.
    execution
        How the network is computed.
    timed
        Whether its inputs have a time axis; only the network of a factory must know it.

    Raises
    ------
    ValueError
        If pooling and strides of the layout leave no feature map of inputs of this shape.
    InputError
        If the factory of the network fails, or its network cannot be measured.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "network").initial_seed())
        if spec.factory:
            from pipelines.networks.own import OwnNetwork

            return OwnNetwork(spec, shape, classes, execution, timed=timed)
        return Network(spec, shape, classes, execution)


def build_structure(network: Network, granularity: str) -> Structure:
    """Return the prunable layers and unit groups of a network.

    Parameters
    ----------
    network
        The network.
    granularity
        For ``none`` and ``unstructured``, the structure has weights only; otherwise also groups of
        units that can be removed.
    """
    if network.spec.factory:
        return cast("OwnNetwork", network).structure(granularity)
    if granularity in ("none", "unstructured"):
        structure = weight_structure(network, READOUT)
    else:
        example = next(network.parameters()).new_zeros(1, *network.input_shape)
        structure = unit_structure(network, READOUT, example, first_step)
    drives = {stage.shortcut.name: stage.name for stage in network.stages if stage.shortcut}
    layers = (replace(layer, drives=drives.get(layer.name)) for layer in structure.layers)
    return replace(structure, layers=tuple(layers))
