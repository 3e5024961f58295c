"""Networks as users of DPAP write them: residual, spiking and plain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 4


class Block(nn.Module):
    """The BasicBlock of torchvision: one ReLU module, called twice, and an in-place addition."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.downsample(x)
        return self.relu(out)


def resnet18() -> nn.Module:
    """ResNet-18 for small images: full widths, 3 x 3 stem."""
    blocks: list[nn.Module] = []
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Block(inputs, outputs, stride), Block(outputs, outputs)]
        inputs = outputs
    stem = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.block1 = Block(8, 8)
        self.block2 = Block(8, 12)
        self.readout = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(self.stem(x)))
        return self.readout(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Spiking(nn.Module):
    """A network in the style of snnTorch's tutorials: it gets and returns its membranes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(12)
        self.lif1 = snn.Leaky(0.5, learn_beta=True)
        self.fc1 = nn.Linear(12 * 16, 20)
        self.lif2 = snn.Leaky(0.5, reset_mechanism="zero")
        self.fc2 = nn.Linear(20, 10)
        self.lif3 = snn.Leaky(0.5)

    def start(self) -> tuple[Tensor, ...]:
        return tuple(lif.reset_mem() for lif in (self.lif1, self.lif2, self.lif3))

    def forward(
        self, x: Tensor, membranes: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        one, two, three = membranes or self.start()
        spikes, one = self.lif1(functional.max_pool2d(self.norm1(self.conv1(x)), 2), one)
        spikes, two = self.lif2(self.fc1(spikes.flatten(1)), two)
        spikes, three = self.lif3(self.fc2(spikes), three)
        return spikes, (one, two, three)


class Tutorial(Spiking):
    """The same network, with the loop over time inside."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        membranes = self.start()
        record = []
        for _ in range(STEPS):
            spikes, membranes = super().forward(x, membranes)
            record.append(spikes)
        return torch.stack(record), membranes[2]


def plain_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.LeakyReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(12 * 16, 20),
        nn.GELU(),
        nn.Linear(20, 10),
    )


NETWORKS = {
    "spiking": (Spiking, "fc2", STEPS),
    "ann": (plain_network, "8", 1),
    "residual": (Residual, "readout", 1),
}

LARGE = {"resnet-18": (resnet18, "11", 1)}


def class_scores(network: Callable[..., Any], x: Tensor, steps: int) -> Tensor:
    """Return the class scores, [B, 10], of any of the networks above."""
    if steps == 1:
        output = network(x)
        return output[0].mean(0) if isinstance(output, tuple) else output
    total, membranes = torch.zeros(len(x), 10), None
    for _ in range(steps):
        spikes, membranes = network(x, membranes)
        total = total + spikes + membranes[2]
    return total


def random_batch(samples: int = 16, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return 2 * torch.randn(samples, 1, 8, 8, dtype=dtype), torch.randint(10, (samples,))


def count_hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())
