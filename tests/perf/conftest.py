"""Races: contenders take turns in one run, so that a noisy machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from pipelines.training.machine import keep_freed_memory, prefer_huge_pages
from tests.perf.networks import Race, compare, turns


@pytest.fixture(autouse=True)
def as_in_a_run() -> None:
    """One thread, and memory as a training process keeps it."""
    torch.set_num_threads(1)
    prefer_huge_pages()
    keep_freed_memory()


@pytest.fixture
def race(benchmark: Any) -> Race:
    """Time contenders in turns; `benchmark.extra_info` gets medians, quartiles and ratios.

    A ratio is the median, over the rounds, of the reference's time over the contender's in the
    same round; a share is the contender's total time over the reference's.
    """

    def run(
        contenders: Mapping[str, Callable[[], object]],
        *,
        reference: str,
        rounds: int,
        warmup: int = 2,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        times: dict[str, list[float]] = {name: [] for name in contenders}
        once = turns(contenders, times, clock)
        for _ in range(warmup):
            once()
        for series in times.values():
            series.clear()
        benchmark.pedantic(once, rounds=rounds, iterations=1)
        found = compare(times, reference)
        benchmark.extra_info |= {"reference": reference, "rounds": rounds, "race": found}

    return run
