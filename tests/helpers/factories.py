"""Networks and data sets as a user's factories return them, good and bad."""

from __future__ import annotations

from typing import Any

import numpy as np
import snntorch as snn
import torch
from torch import Tensor, nn

STEPS = 4


def stepped(hidden: int = 16, dropout: float = 0.0) -> nn.Module:
    """Takes one time step; neurons that keep their states."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        snn.Leaky(0.5, threshold=0.3, init_hidden=True),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(8 * 16, hidden),
        snn.Leaky(0.5, threshold=0.3, init_hidden=True),
        nn.Linear(hidden, 3),
    )


class Looped(nn.Module):
    """Takes a batch and loops over time; `order` decides what it returns."""

    def __init__(self, steps: int = STEPS, order: str = "time") -> None:
        super().__init__()
        self.steps, self.order = steps, order
        self.conv, self.lif1 = nn.Conv2d(1, 8, 3, padding=1), snn.Leaky(0.5, threshold=0.3)
        self.fc, self.lif2 = nn.Linear(8 * 16, 16), snn.Leaky(0.5, threshold=0.3)
        self.out = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one, two = self.lif1.reset_mem(), self.lif2.reset_mem()
        current, scores = self.conv(x), []
        for _ in range(self.steps):
            spikes, one = self.lif1(current, one)
            spikes, two = self.lif2(self.fc(spikes.flatten(1)), two)
            scores.append(self.out(spikes))
        if self.order == "sum":
            return torch.stack(scores).sum(0), two
        return torch.stack(scores, 1 if self.order == "batch" else 0), two


def looped(steps: int = STEPS, order: str = "time") -> nn.Module:
    return Looped(steps, order)


def summed() -> nn.Module:
    return Looped(order="sum")


class SamplesOutermost(nn.Module):
    """Folds time into the batch, but with the samples outermost."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lif, self.out = nn.Conv2d(1, 8, 3), snn.Leaky(0.5), nn.Linear(8 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.repeat_interleave(STEPS, 0))
        spikes, _ = self.lif(y, self.lif.reset_mem())
        return self.out(spikes.flatten(1)).unflatten(0, (-1, STEPS)).mean(1)


def samples_outermost() -> nn.Module:
    return SamplesOutermost()


def artificial(classes: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(),
        nn.Linear(16, classes),
    )  # fmt: skip


def softmaxed() -> nn.Module:
    """A softmax over the units of a layer: removing a unit changes the others."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Softmax(1), nn.Linear(12, 3)
    )


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x.flatten(1, 2).transpose(0, 1))[0][-1])


def gated() -> nn.Module:
    return Gated()


def nothing() -> None:
    return None


def broken() -> nn.Module:
    raise RuntimeError("no such thing")


def samples(train: int = 60, test: int = 24, *, time: int = 0, kind: str = "uint8") -> Any:
    """Three classes: a bright row of a 4 x 4 image, at the place of the class."""
    draw = np.random.default_rng(0)
    parts = []
    for n in (train, test):
        labels = np.arange(n) % 3
        images = draw.integers(0, 90, (n, 1, 4, 4))
        images[np.arange(n), 0, labels] += 150
        if time:
            images = (draw.random((n, time, 1, 4, 4)) < images[:, None] / 255).astype(int)
        parts.append((images.astype(kind), labels))
    return tuple(parts)


def unlabelled() -> Any:
    return samples()[0][0]


def flat() -> Any:
    return np.zeros((10, 4)), np.arange(10) % 2


def odd_labels() -> Any:
    return np.zeros((10, 1, 4, 4)), np.arange(9)


def infinite() -> Any:
    return np.full((10, 1, 4, 4), np.inf), np.arange(10) % 2


def lonely() -> Any:
    return np.zeros((10, 1, 4, 4)), np.array([0] * 9 + [1])
