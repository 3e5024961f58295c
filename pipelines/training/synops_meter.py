"""Measures the SynOps of a network under masks, for runs whose target is a number of SynOps."""

from __future__ import annotations

from copy import deepcopy
from functools import cached_property

import torch
from torch import Tensor

from baselines.shared.masks import Masks
from pipelines.data.splits import Samples
from pipelines.networks.network import Network
from pipelines.training.cost import ActivityCounter, operations

#: Number of samples that are passed, the first ones of the split.
SAMPLES = 512


class SynopsMeter:
    """Counts SynOps as `pipelines.training.cost` does, on samples of the validation split.

    Batch norm uses the statistics of these samples. After units are removed, the running statistics
    are those of another network, and firing rates would be those of no trained network. The labels
    are not used, and the network does not change.

    Parameters
    ----------
    network
        The dense network, whose weights are up to date at each call.
    validation
        The validation split.
    """

    def __init__(self, network: Network, validation: Samples) -> None:
        self.network = network
        self.validation = validation

    def __call__(self, masks: Masks) -> float:
        """Return the SynOps per sample under masks."""
        shadow = self._shadow
        shadow.load_state_dict(self.network.state_dict())
        masks.project(shadow)
        counter = ActivityCounter(shadow.steps, shadow)
        with torch.no_grad():
            counter.add(shadow.run(self._inputs)[1])
        with torch.enable_grad():  # the fan-out of a convolution is a gradient
            return sum(acs for _, _, acs in operations(shadow, counter).values())

    @cached_property
    def _shadow(self) -> Network:
        return deepcopy(self.network).train()

    @cached_property
    def _inputs(self) -> Tensor:
        return self.validation.batch(slice(SAMPLES))[0]
