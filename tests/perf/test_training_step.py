"""Forward and backward of one batch: our plans, other people's loops, and the floor."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.core import fused
from tests.perf.networks import SIZES, Race, Tutorial, floor, spikingjelly, training_step

ROUNDS = {"digits": 60, "fashion": 15, "6Conv2FC": 3}


@pytest.mark.parametrize("size", SIZES)
def test_training_step(race: Race, benchmark: Any, size: str) -> None:
    benchmark.group = f"training step, {size}"
    shape = SIZES[size]
    inputs = shape.inputs()
    plans: dict[str, dict[str, str]] = {
        "snnTorch, step by step": {"plan": "step"},
        "folded": {},
        "folded, bfloat16": {"precision": "bfloat16"},
    }
    if fused.available(inputs):
        plans |= {
            "fused": {"plan": "fused"},
            "fused, bfloat16": {"plan": "fused", "precision": "bfloat16"},
        }
    contenders = {
        name: training_step(shape.network(**execution), inputs) for name, execution in plans.items()
    }
    tutorial = Tutorial(shape.network())
    contenders["snnTorch, tutorial loop"] = training_step(tutorial, inputs)
    if (jelly := spikingjelly(shape.network())) is not None:
        contenders["SpikingJelly, multi-step"] = training_step(jelly, inputs)
    bare = floor(shape.network(), inputs)
    contenders["convolutions and linear layers alone"] = bare

    def half() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            bare()

    contenders["the same in bfloat16"] = half
    race(contenders, reference="snnTorch, step by step", rounds=ROUNDS[size], warmup=1)
