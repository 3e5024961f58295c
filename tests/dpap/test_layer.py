"""The state of a layer: batches processed together, and permuted units."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpap import DPAP, PAPER, RELEASED, layer
from dpap.layer import LayerState
from dpap.presets import Preset
from tests.helpers.spikes import random_spikes


def test_processing_batches_together_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a normal, a smaller and a normal size, processed together or one by one."""
    draw = torch.Generator().manual_seed(0)
    batches = [
        (random_spikes(n, (5, 2, 2), draw), random_spikes(n, (7, 3, 3), draw)) for n in (4, 4, 1, 4)
    ]
    states = []
    for limit in (1, 10**9):
        monkeypatch.setattr(layer, "PENDING_LIMIT", limit)
        state = LayerState("conv", 7, 5, DPAP(), synapses=True, steps=2)
        for pre, post in batches:
            state.observe(pre.double(), post.double())
        state.update(0)
        states.append(state)
    for name in ("plasticity", "products", "unit_survival", "synapse_survival", "time_survival"):
        one, many = (getattr(state, name) for state in states)
        torch.testing.assert_close(many, one, msg=name)
    torch.testing.assert_close(states[0].threshold.value, states[1].threshold.value)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.sampled_from([PAPER, RELEASED]))
def test_permuting_units_permutes_survival(seed: int, preset: Preset) -> None:
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(7, generator=draw)
    one, other = (LayerState("linear", 7, 5, preset, synapses=True, steps=2) for _ in range(2))
    for age in range(4):
        for size in (3, 1):  # a smaller batch
            pre = torch.rand(2, size, 5, generator=draw, dtype=torch.double)
            post = torch.rand(2, size, 7, generator=draw, dtype=torch.double)
            one.observe(pre, post)
            other.observe(pre, post[:, :, order])
        for state in (one, other):
            state.update(age)
            state.end_update()
    torch.testing.assert_close(one.unit_survival[order], other.unit_survival)
    for name in ("synapse_survival", "time_survival"):
        torch.testing.assert_close(getattr(one, name)[order], getattr(other, name))
