"""What each kernel of the plan `fused` gains on a CPU: races with one of them switched off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.boards.params import Params
from pipelines.kernels.cpu import norm_scan
from pipelines.networks.plans.fused_cpu import KERNELS, FusedCpu
from tests.perf.networks import SIZES, Race, training_step
from tests.perf.runs import Run, load

pytestmark = pytest.mark.skipif(not norm_scan.available(), reason="needs a C compiler")
#: Part of both splits that a run has, and runs of each contender, one after the other.
SHARE, RUNS = 1 / 32, 3
ALL = "all kernels"
#: Contender -> kernels that it may use.
CONTENDERS = {ALL: KERNELS} | {f"without {name}": KERNELS - {name} for name in sorted(KERNELS)}


@pytest.mark.parametrize("density", [1.0, 0.1])
def test_whole_run(race: Race, benchmark: Any, params: Params, density: float) -> None:
    """The runs take turns after each epoch; DPAP prunes to density 0.1, with live shrink.

    The clock counts the time of this process alone, so that others on the machine matter less.
    """
    benchmark.group = "dense" if density == 1 else f"density {density}"
    data, method = load(SHARE), "dense" if density == 1 else "dpap"

    def epochs(kernels: frozenset[str]) -> Iterator[object]:
        run = Run(params, data, method, density, kernels=kernels)
        for _ in range(RUNS):
            trainer = run.trainer()
            yield from trainer.epochs()
            run.end(trainer)
        yield None  # the last run is over

    running = {name: epochs(kernels) for name, kernels in CONTENDERS.items()}
    rounds = RUNS * params.workloads["fashion-snn"].recipe.epochs
    contenders = {name: turns.__next__ for name, turns in running.items()}
    race(contenders, reference=ALL, rounds=rounds, warmup=0, clock=time.process_time)
    assert all(next(turns) is None for turns in running.values()), "the budgets are spent"


def test_training_step(race: Race, benchmark: Any) -> None:
    """A wide network: the one that DPAP's paper prunes on CIFAR-10."""
    benchmark.group = "step of 6Conv2FC"
    size, contenders = SIZES["6Conv2FC"], {}
    for name, kernels in CONTENDERS.items():
        network = size.network(plan="fused")
        network.use(FusedCpu(network.spec, kernels))
        contenders[name] = training_step(network, size.inputs())
    race(contenders, reference=ALL, rounds=8, warmup=1, clock=time.process_time)
