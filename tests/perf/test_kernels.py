"""What each kernel of the plan `fused` gains on a CPU: whole runs with one of them switched off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.boards.params import Params
from pipelines.kernels.cpu import norm_scan
from pipelines.networks.plans.fused_cpu import KERNELS
from tests.perf.networks import Race
from tests.perf.runs import Run, load

#: Part of both splits that a run has, and runs of each contender, one after the other.
SHARE, RUNS = 1 / 32, 3
ALL = "all kernels"


@pytest.mark.parametrize("density", [1.0, 0.1])
def test_whole_run(race: Race, benchmark: Any, params: Params, density: float) -> None:
    """The runs take turns after each epoch; DPAP prunes to density 0.1, with live shrink.

    The clock counts the time of this process alone, so that others on the machine matter less.
    """
    if not norm_scan.available():
        pytest.skip("needs a C compiler")
    benchmark.group = "dense" if density == 1 else f"density {density}"
    data, method = load(SHARE), "dense" if density == 1 else "dpap"

    def epochs(off: str) -> Iterator[object]:
        run = Run(params, data, method, density, kernels=KERNELS - {off})
        for _ in range(RUNS):
            trainer = run.trainer()
            yield from trainer.epochs()
            run.end(trainer)
        yield None  # the last run is over

    running = {ALL if not off else f"without {off}": epochs(off) for off in ("", *sorted(KERNELS))}
    rounds = RUNS * params.workloads["fashion-snn"].recipe.epochs
    contenders = {name: turns.__next__ for name, turns in running.items()}
    race(contenders, reference=ALL, rounds=rounds, warmup=0, clock=time.process_time)
    assert all(next(turns) is None for turns in running.values()), "the budgets are spent"
