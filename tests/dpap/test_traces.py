"""Traces, by hand."""

from __future__ import annotations

import torch

from baselines.shared.activity import unit_activity
from dpap.traces import trace


def test_trace_by_hand() -> None:
    spikes = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1)
    assert trace(spikes, 0.5).item() == 0.25 * 1 + 0.5 * 0 + 1
    maps = torch.zeros(2, 1, 1, 2, 2)
    maps[0, 0, 0, 0] = 1  # two spikes at the first step
    maps[1, 0, 0, 1, 1] = 1  # one at the second
    assert trace(unit_activity(maps), 0.5).item() == 0.5 * 2 + 1
    assert trace(spikes[:1], 0.5).item() == 1, "T = 1"
