"""Networks of factories: scores, counts, removal, and what is refused before training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dpap.attachment.copies import copy_of
from pipelines.common.errors import InputError
from pipelines.networks.initial import build_network, build_structure
from pipelines.networks.own import OwnNetwork
from pipelines.settings.network import READOUT
from pipelines.training.cost import ActivityCounter, operations
from tests.helpers.own_workloads import own_workload

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def build(name: str = "stepped", seed: int = 0, **fields: Any) -> OwnNetwork:
    spec = own_workload(name, network_fields=fields).network
    network = build_network(spec, (1, 4, 4), 3, seed)
    assert isinstance(network, OwnNetwork)
    return network.eval()


def test_a_step_network_is_called_once_for_each_step_and_rests_between_batches() -> None:
    network = build()
    with torch.no_grad():
        first, second = network(IMAGES), network(IMAGES)
        network.rest()
        wanted = torch.stack([network.net(IMAGES) for _ in range(4)]).mean(0)
    assert torch.equal(first, second)
    assert torch.equal(first, wanted)


def test_the_initial_network_depends_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.readout.weight, two.readout.weight)
    assert not torch.equal(one.readout.weight, other.readout.weight)


class Oracle:
    """Counts as NeuroBench does: at each call, inputs and weights that are not zero."""

    def __init__(self, network: nn.Module) -> None:
        self.macs = self.acs = self.dense = 0.0
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(self.count)

    def count(self, module: Any, arguments: tuple[Tensor], output: Tensor) -> None:
        x, weight = arguments[0], module.weight

        def calls(x: Tensor, w: Tensor) -> float:
            if isinstance(module, nn.Linear):
                return float(functional.linear(x, w).sum())
            return float(functional.conv2d(x, w, None, module.stride, module.padding).sum())

        effective = calls((x != 0).double(), (weight != 0).double())
        self.dense += calls(torch.ones_like(x).double(), torch.ones_like(weight).double())
        if bool(((x == 0) | (x == 1)).all()):
            self.acs += effective
        else:
            self.macs += effective


@pytest.mark.parametrize("name", ["stepped", "looped"])
def test_operations_are_those_of_hooks_on_each_call(name: str) -> None:
    network = build(name)
    with torch.no_grad():
        network.get_parameter("net.fc.weight" if name == "looped" else "net.4.weight")[:, ::3] = 0
        counter = ActivityCounter(network.steps, network)
        counter.add(network.run(IMAGES)[1])
        copy = copy_of(network)
        oracle = Oracle(copy)
        copy(IMAGES)
    counts = operations(network, counter).values()
    assert sum(dense for dense, _, _ in counts) * 6 == oracle.dense
    assert sum(macs for _, macs, _ in counts) * 6 == pytest.approx(oracle.macs)
    assert sum(acs for _, _, acs in counts) * 6 == pytest.approx(oracle.acs)
    assert oracle.macs > 0
    assert oracle.acs > 0


def test_a_static_layer_is_charged_as_often_as_it_runs() -> None:
    """`looped` applies its convolution once for all steps, `stepped` at each step."""
    counts = {}
    for name in ("looped", "stepped"):
        network = build(name)
        counter = ActivityCounter(network.steps, network)
        with torch.no_grad():
            counter.add(network.run(IMAGES)[1])
        counts[name] = dict(counter.calls)
    assert counts["looped"] == {"net.conv": 1, "net.fc": 4, READOUT: 4}
    assert counts["stepped"] == {"net.0": 4, "net.4": 4, READOUT: 4}


@pytest.mark.parametrize("name", ["stepped", "looped"])
def test_removal_keeps_the_outputs(name: str) -> None:
    network = build(name)
    structure = build_structure(network, "structured")
    draw = torch.Generator().manual_seed(0)
    kept = {g.name: torch.rand(g.size, generator=draw) < 0.6 for g in structure.groups}
    masks = structure.masks(kept)
    masks.project(network)
    with torch.no_grad():
        before = network(IMAGES)
        network.remove(masks)
        after = network(IMAGES)
    widths = [int(kept[g.name].sum()) for g in structure.groups]
    assert network.layout == "-".join(
        f"{g.name}:{n}" for g, n in zip(structure.groups, widths, strict=True)
    )
    assert torch.allclose(before, after, atol=1e-5)


def test_a_layout_gives_the_widths_of_a_smaller_network() -> None:
    spec = own_workload().network.model_copy(update={"layout": "net.0:3-net.4:5"})
    network = build_network(spec, (1, 4, 4), 3, 0)
    assert network.layout == "net.0:3-net.4:5"
    assert network(IMAGES).shape == (6, 3)


def test_live_shrink_is_proven_where_the_small_network_trains_the_same() -> None:
    for dropout, proven in ((0.0, True), (0.5, False)):
        network = build(options={"dropout": dropout})
        build_structure(network, "structured")
        assert network.shrinks == proven


REFUSED = [
    ("nothing", {}, "returns a value of type NoneType; let it return a torch.nn.Module."),
    ("broken", {}, "fails (RuntimeError: no such thing); correct it, or its options"),
    ("missing", {}, "has no function 'missing'; correct the name."),
    ("stepped", {"options": {"colour": 1}}, "unexpected keyword argument 'colour'"),
    ("stepped", {"takes": "batch"}, "set time_steps to 1"),
    (
        "looped",
        {"time_steps": 7},
        "for 3 samples, 7 time steps and 3 classes: set time_steps, or let it be",
    ),
    ("looped", {"options": {"order": "batch"}}, "let it be [B, classes] or [T, B, classes]"),
    ("summed", {"time_steps": 7}, "run 4 times for each sample, and time_steps is 7: set"),
    ("samples_outermost", {}, "put time before samples, [T * B, ...]"),
    ("artificial", {"time_steps": None}, "none of its layers sends spikes: write 'kind: ann'"),
    ("looped", {"kind": "ann", "time_steps": None}, "it has spiking neurons: remove 'kind: ann'"),
    ("artificial", {"kind": "ann", "time_steps": None, "options": {"classes": 5}}, "3 classes"),
    ("artificial", {"kind": "ann", "time_steps": None, "ignore": ["9"]}, "ignore names '9'"),
    ("artificial", {"kind": "ann", "time_steps": None, "readout": "0"}, "in 'readout'"),
    ("gated", {"kind": "ann", "time_steps": None}, "(LSTM) cannot be counted: build it from"),
]


@pytest.mark.parametrize(("name", "fields", "sentence"), REFUSED)
def test_a_bad_network_is_refused_in_one_sentence(
    name: str, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        build(name, **fields)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_units_that_cannot_be_removed_are_refused_where_units_are_pruned_only() -> None:
    network = build("softmaxed", kind="ann", time_steps=None)
    assert [x.name for x in build_structure(network, "unstructured").layers] == ["net.1"]
    with pytest.raises(InputError, match=r"layer '1' cannot be removed.*softmax"):
        build_structure(network, "structured")
