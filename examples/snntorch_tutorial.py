"""The convolutional network of snnTorch's tutorial 6, for small images.

It takes the inputs of one time step, so its workload says ``takes: step``: the harness calls it
once for each time step, with the neurons at rest before each batch.
"""

from __future__ import annotations

import snntorch as snn
from snntorch import surrogate
from torch import nn


def network(channels: int = 1, side: int = 8, classes: int = 10, beta: float = 0.5) -> nn.Module:
    """Two convolutions and a readout, with leaky neurons that keep their own states.

    Parameters
    ----------
    channels, side
        Shape of the images.
    classes
        Number of classes.
    beta
        Decay of the membrane potential per step.
    """
    slope = surrogate.fast_sigmoid(slope=25)
    return nn.Sequential(
        nn.Conv2d(channels, 12, 3, padding=1),
        nn.MaxPool2d(2),
        snn.Leaky(beta=beta, threshold=0.5, spike_grad=slope, init_hidden=True),
        nn.Conv2d(12, 32, 3, padding=1),
        nn.MaxPool2d(2),
        snn.Leaky(beta=beta, threshold=0.5, spike_grad=slope, init_hidden=True),
        nn.Flatten(),
        nn.Linear(32 * (side // 4) ** 2, classes),
    )
