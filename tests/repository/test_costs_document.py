"""The tables of docs/costs.md equal what the code computes."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from baselines.shared.dependency_graph import remove_units, surviving_steps
from baselines.shared.masks import Masks
from pipelines.networks.initial import build_network, build_structure
from pipelines.networks.plans.folded import gated
from pipelines.records.outcome import Cost
from pipelines.settings.network import READOUT, NetworkSpec
from pipelines.training.cost import ActivityCounter, measure
from tests.helpers.paths import ROOT

DOCUMENT = ROOT / "docs" / "costs.md"
STEPS = 2


def table(first: str) -> list[dict[str, str]]:
    """Return the rows of the table whose first column has this heading."""
    block = re.search(rf"^\| {first} \|.*\n(?:\|.*\n)+", DOCUMENT.read_text(), re.MULTILINE)
    assert block, f"no table begins with '{first}'"
    lines = [[c.strip() for c in x.strip("|").split("|")] for x in block[0].splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def image() -> Tensor:
    """[T = 1, B = 1, C = 1, 4, 4]: a corner, an edge and an inner pixel."""
    pixels = torch.zeros(1, 1, 1, 4, 4)
    for place, value in (((0, 0), 0.2), ((0, 2), 0.7), ((1, 1), 1.5)):
        pixels[0, 0, 0][place] = value
    return pixels


def given_spikes() -> tuple[Tensor, Tensor]:
    """Return the spikes that the document lists: conv1 [T, 1, 2, 4, 4] and fc1 [T, 1, 3]."""
    conv, hidden = torch.zeros(STEPS, 1, 2, 4, 4), torch.zeros(STEPS, 1, 3)
    for row in table("step"):
        step = int(row["step"])
        for channel in (0, 1):
            for y, x in re.findall(r"\((\d), (\d)\)", row[f"conv1, channel {channel}"]):
                conv[step, 0, channel, int(y), int(x)] = 1
        for neuron in re.findall(r"\d", row["fc1"]):
            hidden[step, 0, int(neuron)] = 1
    return conv, hidden


def masks_of(pruned: str, everything: Masks) -> Masks:
    """Return the masks that the document describes under this name, for the dense network."""
    conv, linear = torch.ones(2, 1, 3, 3, dtype=torch.bool), torch.ones(3, 8, dtype=torch.bool)
    conv[1] = False
    conv[1, 0, 1, 1] = True
    linear[1] = False
    kept = torch.ones(2, STEPS, dtype=torch.bool)
    kept[0, 0] = False
    return {
        "nothing": Masks(),
        "conv weights": Masks({"conv1.weight": conv}),
        "fc weights": Masks({"fc1.weight": linear}),
        "channel": everything,
        "step": Masks(units={"conv1": torch.ones(2, dtype=torch.bool)}, steps={"conv1": kept}),
    }[pruned]


def cost(pruned: str) -> Cost:
    """Return the cost of the document's network, for its spikes that the pruning leaves."""
    spec = NetworkSpec(kind="snn", layout="2C3-MP2-3FC", time_steps=STEPS)
    network = build_network(spec, (1, 4, 4), 2, seed=0).eval()
    structure = build_structure(network, "structured")
    units = {"conv1": torch.tensor([True, False]), "fc1": torch.ones(3, dtype=torch.bool)}
    masks = masks_of(pruned, structure.masks(units))
    masks.project(network)
    remove_units(structure, masks)
    network.silence(surviving_steps(structure, masks))
    conv, hidden = given_spikes()
    conv = conv[:, :, : network.stages[0].weights.weight.shape[0]]
    conv = gated(conv, network.gates.get("conv1"))
    pooled = network.stages[0].pool(conv.flatten(0, 1)).view(STEPS, 1, -1)
    counter = ActivityCounter(STEPS)
    counter.add(
        {
            "conv1": (image(), conv),
            "fc1": (pooled, hidden),
            READOUT: (hidden, torch.zeros(1, 1, 2)),
        }
    )
    return measure(network, structure, masks, counter, {}, {})


def written(cell: str, value: float) -> str:
    """Round a value to as many decimals as the cell of the document has."""
    return f"{value:.{len(cell.partition('.')[2])}f}"


def test_the_costs_of_layers_are_those_of_the_document() -> None:
    layers, rows = cost("nothing").layers, table("layer")
    assert [row["layer"] for row in rows] == list(layers)
    for row in rows:
        layer = layers[row["layer"]]
        found = {
            "dense": layer.dense_operations,
            "MACs": layer.effective_macs,
            "ACs": layer.effective_acs,
            "membrane updates": layer.membrane_updates,
            "firing rate": layer.firing_rate,
        }
        for name, value in found.items():
            assert row[name] == ("" if value is None else written(row[name], value)), name


@pytest.mark.parametrize("row", table("pruned"), ids=lambda row: row["pruned"])
def test_the_costs_of_pruned_networks_are_those_of_the_document(row: dict[str, str]) -> None:
    found, whole = cost(row["pruned"]), cost("nothing")
    figures = {
        "density": found.density,
        "connection sparsity": found.connection_sparsity,
        "timestep sparsity": found.timestep_sparsity,
        "dense": found.macs,
        "MACs": found.effective_macs,
        "ACs": found.synops,
        "membrane updates": found.membrane_updates,
        "activation sparsity": found.activation_sparsity,
        "energy pJ": 1000 * found.energy_nanojoule,
        "energy %": 100 * found.energy_nanojoule / whole.energy_nanojoule,
        "formula (15) %": 100 * found.density * (1 - found.timestep_sparsity),
    }
    assert row.keys() == {"pruned", *figures}
    for name, value in figures.items():
        assert value is not None
        assert row[name] == written(row[name], value), name


def test_every_pruned_network_costs_less_than_the_dense_one() -> None:
    whole = cost("nothing")
    for row in table("pruned")[1:]:
        assert cost(row["pruned"]).energy_nanojoule < whole.energy_nanojoule


def test_the_document_defines_every_field_of_the_cost() -> None:
    named = " ".join(row["field"] for row in table("figure"))
    timed = {"latency_milliseconds", "masked_latency_milliseconds"}
    for name in set(Cost.__struct_fields__) - timed - {"layers", "prunable"}:
        assert f"`{name}`" in named
