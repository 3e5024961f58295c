"""Forward and backward of one batch: our plans, other people's loops, and the floor."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.kernels.cpu import norm_scan
from tests.perf.networks import SIZES, Race, contenders

ROUNDS = {"digits": 60, "fashion": 15, "6Conv2FC": 5}
#: Rounds before those that count, until memory that one frees is where the next looks for it.
WARMUP = {"digits": 5, "fashion": 12, "6Conv2FC": 3}


@pytest.mark.parametrize("size", SIZES)
def test_training_step(race: Race, benchmark: Any, size: str) -> None:
    benchmark.group = f"training step, {size}"
    here = torch.device("cpu")
    found = contenders(SIZES[size], here, fused=norm_scan.available())
    race(found, reference="snnTorch, step by step", rounds=ROUNDS[size], warmup=WARMUP[size])
