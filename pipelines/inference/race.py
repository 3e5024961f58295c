"""Contenders that take turns: CPU time and joules per sample."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from pipelines.inference.joules import PackageMeter

#: Shortest time of a turn in s: short calls are repeated. The counters of RAPL change every
#: millisecond.
TURN = 0.02


class Call(NamedTuple):
    """A contender: what is called, and the number of samples that it computes."""

    run: Callable[[], object]
    samples: int = 1


@dataclass(frozen=True)
class Turns:
    """What a contender took in each round, per sample.

    Parameters
    ----------
    seconds
        CPU time of the process.
    joules
        Energy of the processor packages; empty without a meter.
    """

    seconds: tuple[float, ...]
    joules: tuple[float, ...]

    def times_as_fast_as(self, other: Turns) -> float:
        """Return the median over the rounds of the other's CPU time over this one's."""
        pairs = zip(other.seconds, self.seconds, strict=True)
        return median(theirs / ours for theirs, ours in pairs)


def race(
    contenders: Mapping[str, Call],
    rounds: int,
    meter: PackageMeter | None = None,
    *,
    turn: float = TURN,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Turns]:
    """Let contenders take turns, so that a noisy machine slows all of them alike.

    Parameters
    ----------
    contenders
        Name -> contender.
    rounds
        Each contender has one turn in a round; another one begins each round.
    meter
        Measures joules; None: they are not measured.
    turn
        Shortest time of a turn in s.
    clock
        CPU time in s.
    """
    repeats = {name: _repeats(call.run, turn, clock) for name, call in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    joules: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        for name in order:
            (call, samples), times = contenders[name], repeats[name]
            call()  # its weights are in the caches then, as in inference of many samples
            if meter:
                meter.joules()
            start = clock()
            for _ in range(times):
                call()
            seconds[name].append((clock() - start) / times / samples)
            if meter:
                joules[name].append(meter.joules() / times / samples)
        order.append(order.pop(0))
    return {name: Turns(tuple(seconds[name]), tuple(joules[name])) for name in contenders}


def _repeats(call: Callable[[], object], turn: float, clock: Callable[[], float]) -> int:
    """Return how often a contender is called in a turn; the first call is a warm-up."""
    call()
    start = clock()
    call()
    return max(1, math.ceil(turn / max(clock() - start, turn / 1000)))
