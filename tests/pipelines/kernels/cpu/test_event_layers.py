"""Event-driven layers worked out by hand; tests/pipelines/inference has networks as the oracle."""

from __future__ import annotations

import pytest
import torch

from pipelines.kernels.cpu import event_layers
from pipelines.kernels.cpu.event_layers import EventStack, Neurons, Pool, Weights

pytestmark = pytest.mark.skipif(not event_layers.available(), reason="needs a C compiler")


def stack(neurons: Neurons) -> EventStack:
    """One weight of 1, which two units share, from each of 1 x 2 places; a readout of 3."""
    layer = Weights(torch.tensor([1.0, 0.0]).view(2, 1, 1, 1), torch.zeros(2), (1, 1, 2), (2, 1, 2))
    shape = neurons.sent_shape(layer.output_shape)
    weight = torch.full((1, *shape), 3.0)
    readout = Weights(weight, torch.tensor([0.5]), shape, (1, 1, 1))
    return EventStack([(layer, neurons)], readout, steps=3)


def test_potentials_decay_and_are_reset() -> None:
    """A current of 0.8 at each step: potentials 0.8, 1.2 (a spike), then 0.8 or 0.4."""
    events = torch.tensor([0.8, 0.0]).expand(3, 1, 1, 2)
    scores, added = stack(Neurons(0.5, 1.0))(events)
    assert scores.tolist() == [3 * 1 / 3 + 0.5]
    assert added == [3, 1], "three events with one weight that is not zero; one spike"
    # With a threshold of 0.5 that is subtracted: 0.8, then 0.4 + 0.8 - 0.5 = 0.7, then 0.65.
    assert stack(Neurons(0.5, 0.5, subtract=True))(events)[1] == [3, 3]


def test_an_image_is_convolved_once_and_shown_at_each_step() -> None:
    scores, added = stack(Neurons(0.5, 1.0))(torch.tensor([[[0.8, 2.0]]]))
    assert added == [0, 4], "a spike at the second step, and one at each of the three"
    assert scores.tolist() == [3 * 4 / 3 + 0.5]


def test_pooling_joins_spikes_and_silence_withholds_them() -> None:
    image = torch.tensor([[[2.0, 2.0]]])
    most = Neurons(0.5, 1.0, pool=Pool((1, 2), (1, 2), 0, maximum=True))
    assert stack(most)(image)[1] == [0, 3]
    heard = torch.tensor([[True, False, True], [True, True, True]])
    assert stack(Neurons(0.5, 1.0, heard=heard))(image)[1] == [0, 4]
    image[0, 0, 1] = 0
    mean = Neurons(0.5, 1.0, pool=Pool((1, 2), (1, 2), 0, maximum=False))
    assert stack(mean)(image)[0].tolist() == [3 * 0.5 + 0.5]
