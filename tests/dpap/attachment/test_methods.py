"""Every registered method on foreign networks: it prunes to the density, or it is refused."""

from __future__ import annotations

from typing import Any

import pytest
import snntorch as snn
import torch
from torch import nn
from torch.nn import functional

from dpap import attach
from dpap.attachment.copies import at_rest
from dpap.attachment.methods import build_method, method_names, methods
from pipelines.methods.registry import methods as registered
from tests.helpers.architectures import Attention
from tests.helpers.user_networks import Residual

SHAPE = (1, 8, 8)


class Spiking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.lif1 = snn.Leaky(0.5, init_hidden=True, threshold=0.3)
        self.hidden, self.norm2 = nn.Linear(128, 16), nn.BatchNorm1d(16)
        self.lif2 = snn.Leaky(0.5, init_hidden=True, threshold=0.3)
        self.readout = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes = functional.max_pool2d(self.lif1(self.norm(self.conv(x))), 2)
        out: torch.Tensor = self.readout(self.lif2(self.norm2(self.hidden(spikes.flatten(1)))))
        return out


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.hidden, self.norm2 = nn.Linear(288, 16), nn.BatchNorm1d(16)
        self.relu2, self.readout = nn.ReLU(), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.conv(x))).flatten(1)
        out: torch.Tensor = self.readout(self.relu2(self.norm2(self.hidden(x))))
        return out


class Grouped(nn.Module):
    """Units with several outputs, and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 16, 3, padding=1, groups=2)
        self.up, self.readout = nn.ConvTranspose2d(16, 12, 2, 2), nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.norm(self.first(x)))
        x = functional.relu(self.up(functional.relu(self.grouped(x))))
        out: torch.Tensor = self.readout(x.mean((2, 3)))
        return out


class Tokens(nn.Module):
    """Rows of the image as tokens, and attention whose heads lose units together."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attention = nn.Linear(8, 16), Attention((4, -1))
        self.up, self.act, self.down = nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16)
        self.readout = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x.squeeze(1))
        x = x + self.attention(x)
        out: torch.Tensor = self.readout((x + self.down(self.act(self.up(x)))).mean(1))
        return out


NETWORKS = {"spiking": (Spiking, 4), "plain": (Plain, 1), "residual": (Residual, 1)}
#: Units of several outputs, and transposed convolutions, which some methods refuse.
UNUSUAL = {"grouped": Grouped, "tokens": Tokens}
#: They read parts that only the networks of the benchmark have.
OWN = {"criticality", "sca", "slamp"}
RUNS = [
    (name, granularity)
    for name in method_names()
    for granularity in methods()[name].info.granularities
    if granularity not in ("none", "spatio-temporal")
]


def run(build: type[nn.Module], steps: int, name: str, granularity: str) -> str:
    """Train ten batches, compact; ``right``, or why it was refused."""
    torch.manual_seed(0)
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    draw = torch.Generator().manual_seed(0)
    loader = [
        (torch.randn(16, *SHAPE, generator=draw), torch.randint(10, (16,), generator=draw))
        for _ in range(3)
    ]

    def scores(x: torch.Tensor) -> torch.Tensor:
        at_rest(network)
        return torch.stack([network(x) for _ in range(steps)]).sum(0)

    try:
        handle = attach(
            network,
            name,
            example=loader[0][0][:2],
            readout="readout",
            density=0.3,
            granularity=granularity,  # type: ignore[arg-type]
            steps=steps,
            saliency=loader,
            optimizer=optimizer,
        )
    except ValueError as error:
        return str(error)
    for i in range(10):
        x, y = loader[i % 3]
        optimizer.zero_grad()
        (functional.cross_entropy(scores(x), y) + handle.penalty()).backward()
        optimizer.step()
        handle.update((i + 1) / 10, optimizer)
    assert handle.density == pytest.approx(0.3, abs=0.06)
    network.eval()
    with torch.no_grad():
        masked = scores(loader[0][0])
        handle.compact()
        torch.testing.assert_close(scores(loader[0][0]), masked, rtol=1e-3, atol=1e-3)
    return "right"


def test_the_methods_are_those_of_the_registry() -> None:
    assert methods().keys() == registered().keys()
    assert build_method("sd-snn", {}).info.name == "sd_snn"


def check(network: str, name: str, granularity: str) -> None:
    if network in UNUSUAL:
        found = run(UNUSUAL[network], 1, name, granularity)
        assert found == "right" or f"method '{name}'" in found
        return
    found = run(*NETWORKS[network], name, granularity)
    if name in OWN and not (name == "slamp" and network != "spiking"):
        assert "only the benchmark's own networks have" in found
    else:
        assert found == "right"


@pytest.mark.parametrize("name", ["magnitude", "snip", "taylor", "rigl", "slimming", "sca"])
def test_some_methods(name: str) -> None:
    check("plain", name, methods()[name].info.granularities[0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "granularity"), RUNS)
@pytest.mark.parametrize("network", [*NETWORKS, *UNUSUAL])
def test_every_method(network: str, name: str, granularity: str) -> None:
    check(network, name, granularity)


def test_a_frozen_layer_and_a_method_that_reads_its_gradients() -> None:
    network = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4))
    network[0].requires_grad_(False)
    options: dict[str, Any] = {"example": torch.randn(2, 8), "readout": "2", "density": 0.5}
    with pytest.raises(ValueError, match="'rigl' cannot prune layer '0', whose weight is frozen"):
        attach(network, "rigl", **options)
    attach(network, "magnitude", **options)
