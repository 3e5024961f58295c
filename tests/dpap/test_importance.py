"""Importance of time steps, by hand."""

from __future__ import annotations

import torch

from dpap.importance import time_importance
from dpap.traces import running_traces


def test_time_importance_by_hand() -> None:
    pre = torch.tensor([[1.0, 1.0], [0.0, 1.0]]).view(2, 1, 2)
    post = torch.tensor([[0.0], [3.0]]).view(2, 1, 1)
    # Step 0: no output. Step 1: traces 0.5 and 1.5 of the inputs, times 3 spikes.
    assert time_importance(running_traces(pre, 0.5), post).tolist() == [[0.0, 6.0]]
