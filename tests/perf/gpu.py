"""Races on a CUDA GPU: ``python tests/perf/gpu.py`` prints tables and writes their JSON.

The contenders are those of ``test_training_step.py``, at eight steps and 128 samples, and what only
a GPU has. All compute float32 as float32: TF32 is off. It needs no more than the packages that
training needs, and SpikingJelly and CuPy to race against them. Afterwards
``python -m tools.speed_page results/local/gpu.json docs`` puts the tables into docs/.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the races share tests/perf/networks.py

import numpy as np
import torch

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.settings.network import Execution
from pipelines.training.environment import environment
from pipelines.training.machine import clock, find_device
from tests.perf.networks import SIZES, Size, compare, contenders, turns
from tools.speed_page import to_markdown

REFERENCE = "snnTorch, step by step"
ROUNDS = {"fashion": 30, "6Conv2FC": 10}
OUT = ROOT / "results" / "local" / "gpu.json"


def race(size: Size, device: torch.device, rounds: int) -> dict[str, Any]:
    """Quartiles of every contender's times, as the tables show them."""
    fused = environment(1, Execution(plan="fused"), device).plan == "fused"
    found = contenders(size, device, fused=fused)
    times: dict[str, list[float]] = {name: [] for name in found}
    once = turns(found, times, partial(clock, device))
    for _ in range(5):  # kernels are compiled and chosen, passes recorded
        once()
    for series in times.values():
        series.clear()
    for _ in range(rounds):
        once()
    return {"reference": REFERENCE, "rounds": rounds, "race": compare(times, REFERENCE)}


def main() -> None:
    """Race, print, write."""
    device = find_device("cuda")
    np.int = int  # type: ignore[attr-defined]  # SpikingJelly's CuPy backend still asks for it
    groups = {}
    for name, rounds in ROUNDS.items():
        size = replace(SIZES[name], steps=8, batch=128)
        title = f"training step, {name}, {size.steps} steps, batch {size.batch}"
        groups[title] = [race(size, device, rounds)]
    machine = environment(1, Execution(plan="fused"), device).model_dump()
    summary = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine, "groups": groups}
    print(f"{machine['device']}, CUDA {torch.version.cuda}\n\n{to_markdown([summary])}")
    with atomic_file(OUT) as file:
        file.write((json.dumps(summary, indent=1) + "\n").encode())


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        raise SystemExit(str(error)) from None
