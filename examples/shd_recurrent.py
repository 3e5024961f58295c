"""A recurrent spiking network for spike trains of cochlea channels, and made-up data of this form.

The Spiking Heidelberg Digits (Cramer et al., arXiv 1910.07407) have 700 channels; with tonic
installed, ``data: {tonic: SHD}`` reads them. The data here need no download: each class is a chirp
that sweeps over the channels in its own way, with jitter and noise.
"""

from __future__ import annotations

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


def data(
    train: int = 800, test: int = 200, channels: int = 64, steps: int = 16, classes: int = 8
) -> tuple[Part, Part]:
    """Make spike trains [N, T, 1, 1, channels] of 0 and 1, and their labels.

    Parameters
    ----------
    train, test
        Samples of each part.
    channels, steps, classes
        Input channels, time steps, and number of classes.
    """
    draw = np.random.default_rng(0)
    return tuple(_part(draw, n, channels, steps, classes) for n in (train, test))  # type: ignore[return-value]


def _part(draw: np.random.Generator, samples: int, channels: int, steps: int, classes: int) -> Part:
    labels = np.arange(samples) % classes
    start = (labels * 5 % classes + 0.5) / classes + draw.normal(0, 0.03, samples)
    slope = np.where(labels % 2, 1.0, -1.0) * (0.3 + 0.4 * (labels // 2 % 2))
    time = np.arange(steps) / steps
    centre = (start[:, None] + slope[:, None] * time) % 1  # [N, T]
    place = (np.arange(channels) + 0.5) / channels
    distance = np.abs(centre[..., None] - place)
    rate = 0.02 + 0.8 * np.exp(-((np.minimum(distance, 1 - distance) / 0.04) ** 2))
    spikes = (draw.random(rate.shape) < rate).astype(np.uint8)
    return spikes[:, :, None, None, :], labels.astype(np.int64)


class Recurrent(nn.Module):
    """A recurrent layer of leaky neurons, and a readout at each step.

    Parameters
    ----------
    channels, hidden, classes
        Input channels, neurons of the layer, and number of classes.
    beta
        Decay of the membrane potential per step.
    """

    def __init__(self, channels: int, hidden: int, classes: int, beta: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.back = nn.Linear(hidden, hidden)
        self.lif = snn.Leaky(beta=beta)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores [T, B, classes] of spike trains [T, B, 1, 1, channels]."""
        spikes = x.new_zeros(x.shape[1], self.fc1.out_features)
        membrane, scores = self.lif.reset_mem(), []
        for step in x.flatten(2):
            current = self.fc1(step) + self.back(spikes)
            spikes, membrane = self.lif(current, membrane)
            scores.append(self.fc2(spikes))
        return torch.stack(scores)


def network(channels: int = 64, hidden: int = 64, classes: int = 8, beta: float = 0.9) -> nn.Module:
    """Build the network; see `Recurrent`."""
    return Recurrent(channels, hidden, classes, beta)
