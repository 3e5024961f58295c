"""Event-driven inference against the ordinary network; its additions against counted SynOps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipelines.common.errors import InputError
from pipelines.inference.event_driven import EventDriven, refusal
from pipelines.kernels.cpu import event_layers
from pipelines.networks.initial import build_network
from pipelines.networks.network import Network
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training.cost import ActivityCounter, operations

pytestmark = pytest.mark.skipif(not event_layers.available(), reason="needs a C compiler")

STEPS = 3
#: Strides, kernels of even size, every pooling, maps that windows do not fill, linear layers alone.
LAYOUTS = (
    "4C3-MP2-6C3-MP2-9FC",
    "5C5s2-6C3-AP2-8FC-7FC",
    "4C2-MP3s2-5C1-GAP",
    "3C7s3-4C3s2-AP2",
    "12FC-9FC",
)


def pruned(layout: str, seed: int, density: float, **more: object) -> Network:
    """A network in float64 with random weights, batch norm and masks, in evaluation mode."""
    spec = NetworkSpec(kind="snn", layout=layout, time_steps=STEPS, beta=0.8, **more)  # type: ignore[arg-type]
    network = build_network(spec, (2, 14, 11), 5, seed).double().eval()
    draw = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.copy_(0.6 + torch.rand(tensor.shape, generator=draw, dtype=tensor.dtype))
        elif name.endswith("weight"):
            tensor.mul_(4 * (torch.rand(tensor.shape, generator=draw) < density))
    return network


def both(network: Network, x: Tensor) -> tuple[Tensor, Tensor, dict[str, float], dict[str, float]]:
    """Scores of the network and by events; SynOps per sample as counted, and the additions."""
    counter = ActivityCounter(network.steps)
    with torch.no_grad():
        wanted, activity = network.run(x)
        counter.add(activity)
    counts = {name: macs + acs for name, (_, macs, acs) in operations(network, counter).items()}
    samples = x.unbind(x.dim() - 4)
    scores, added = zip(*map(EventDriven(network), samples), strict=True)
    means = {name: sum(one[name] for one in added) / len(added) for name in counts}
    return wanted, torch.stack(scores), counts, means


@settings(max_examples=15, deadline=None)
@given(
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 10_000),
    density=st.sampled_from((1.0, 0.3, 0.05)),
    reset=st.sampled_from(("zero", "subtract")),
    norm=st.sampled_from(("batch", "none")),
    events=st.booleans(),
)
def test_scores_and_synops_are_those_of_the_network(
    layout: str, seed: int, density: float, reset: str, norm: str, events: bool
) -> None:
    network = pruned(layout, seed, density, reset=reset, norm=norm)
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn((*((STEPS,) if events else ()), 3, 2, 14, 11), generator=draw).double()
    x = (x > 1).double() if events else x
    wanted, found, counts, added = both(network, x)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    if not events:
        counts[network.stages[0].name] = 0  # computed once, as a convolution
    assert added == pytest.approx(counts)
    if density == 1 and norm == "batch":
        assert added["readout"] > 0, "no layer is silent, so the test compares something"


def test_silenced_steps_send_no_events() -> None:
    network = pruned(LAYOUTS[0], 1, 0.5)
    x = torch.randn(2, 2, 14, 11, dtype=torch.float64)
    heard = both(network, x)[3]
    network.silence({"conv1": torch.arange(STEPS) != torch.arange(4).view(-1, 1) % STEPS})
    wanted, found, counts, added = both(network, x)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    assert added == pytest.approx(counts | {"conv1": 0})
    assert added["conv2"] < heard["conv2"]


def test_additions_of_a_network_worked_out_by_hand() -> None:
    """As in docs/costs.md: a corner of 4 x 4 meets 4 weights of 3 x 3, an edge 6, the rest 9."""
    spec = NetworkSpec(kind="snn", layout="1C3-1C3-2FC", time_steps=1, norm="none")
    network = build_network(spec, (1, 4, 4), 2, 0).eval()
    state = network.state_dict()
    for name in state:
        if name.endswith(("weight", "bias")):
            state[name].fill_(1 if name.endswith("weight") else 0)
    state["conv1.weight"].zero_()[0, 0, 1, 1] = 2  # sends its input: 2 is above the threshold
    image = torch.zeros(1, 4, 4)
    image[0, 0, 0] = image[0, 0, 2] = image[0, 1, 1] = 1
    _, added = EventDriven(network)(image.unsqueeze(0))
    # Spikes of conv1: (0, 0), (0, 2), (1, 1). Six places of conv2 have two or more of them in their
    # windows, the first three of the rows 0 and 1; these spike.
    assert added["conv2"] == 4 + 6 + 9
    assert added["fc1"] == 6 * 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "ann", "time_steps": 1}, "computes leaky neurons, not those of 'relu'"),
        ({"neuron": "synaptic"}, "computes leaky neurons, not those of 'synaptic'"),
        ({"layout": "4C3-[4C3-4C3]-5FC"}, "has no shortcuts, and one begins or ends at 'conv1'"),
    ],
)
def test_other_networks_are_refused(change: dict[str, object], sentence: str) -> None:
    spec = NetworkSpec(**({"kind": "snn", "layout": "4C3-5FC", "time_steps": 2} | change))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=sentence):
        EventDriven(build_network(spec, (1, 6, 6), 3, 0))


def test_bfloat16_and_other_samples_are_refused() -> None:
    spec = NetworkSpec(kind="snn", layout="4C3-5FC", time_steps=2)
    coarse = build_network(spec, (1, 6, 6), 3, 0, Execution(precision="bfloat16"))
    assert refusal(coarse) == "event-driven inference has no bfloat16."
    inference = EventDriven(build_network(spec, (1, 6, 6), 3, 0))
    for x in (torch.zeros(1, 6, 7), torch.zeros(3, 1, 6, 6), torch.zeros(1, 6, 6).double()):
        with pytest.raises(ValueError, match="the sample is"):
            inference(x)
