"""The probe of a factory's network, and the rehearsal of methods on it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from baselines.magnitude import Magnitude
from baselines.shared.contract import PruneContext
from pipelines.common.errors import InputError
from pipelines.data.splits import Split
from pipelines.networks.initial import build_network, build_structure
from pipelines.networks.own import OwnNetwork
from pipelines.training.budget import BudgetMeter
from pipelines.training.own_probe import OwnProbe
from pipelines.training.own_rehearsal import rehearse_method
from tests.helpers.own_workloads import own_workload

DRAW = torch.Generator().manual_seed(0)
IMAGES = Split(torch.rand(9, 1, 4, 4, generator=DRAW), torch.arange(9) % 3)
EVENTS = Split((torch.rand(9, 4, 1, 4, 4, generator=DRAW) < 0.4).byte(), torch.arange(9) % 3)


def network(*, timed: bool) -> OwnNetwork:
    found = build_network(own_workload().network, (1, 4, 4), 3, 0, timed=timed)
    assert isinstance(found, OwnNetwork)
    return found


@pytest.mark.parametrize("split", [IMAGES, EVENTS], ids=["images", "events"])
def test_passes_are_charged_and_gradients_of_samples_sum_to_that_of_the_batch(split: Split) -> None:
    net, meter = network(timed=split is EVENTS), BudgetMeter(100)
    probe = OwnProbe(net, split, 4, meter, torch.Generator().manual_seed(0))
    (inputs, labels), *_ = probe.batches(4)
    weights = {name: net.get_parameter(f"{name}.weight") for name in ("net.0", "net.4", "net.6")}
    loss = probe.loss(inputs, labels, reduction="sum")
    whole = torch.autograd.grad(loss, list(weights.values()))
    each = dict(probe.per_example(inputs, labels))
    for (name, weight), gradient in zip(weights.items(), whole, strict=True):
        assert each[name].shape == (4, *weight.shape)
        assert torch.allclose(each[name].sum(0), gradient, atol=1e-5)
    assert meter.phases == {"saliency": 8}
    assert probe.linear(probe.example()).shape == (1, 3)


@dataclass
class Wrong(Magnitude):
    """Reads a part that only networks of layouts have."""

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        super().begin(network, context)
        assert network.stages[0].name  # type: ignore[union-attr,index]


def test_a_method_that_cannot_prune_the_network_is_refused_before_training() -> None:
    net = network(timed=False)
    structure = build_structure(net, "structured")
    context = PruneContext(structure, "structured", 0.5, torch.Generator(), 4)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    rehearse_method(net, Magnitude(), context, IMAGES)
    with pytest.raises(InputError, match="method 'magnitude' cannot prune this network"):
        rehearse_method(net, Wrong(), context, IMAGES)
    after = net.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
