"""Turns by a clock and a meter that the contenders themselves move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipelines.inference.joules import PackageMeter
from pipelines.inference.race import Call, race
from tests.pipelines.inference.test_joules import counter


def test_times_and_joules_are_per_sample(tmp_path: Path) -> None:
    energy = counter(tmp_path, "intel-rapl:0", "package-0", 0)
    now, order = [0.0], []

    def taking(seconds: float, name: str) -> Callable[[], None]:
        def call() -> None:
            now[0] += seconds
            order.append(name)
            energy.write_text(str(int(energy.read_text()) + 1000))

        return call

    contenders = {"slow": Call(taking(2, "slow"), 4), "fast": Call(taking(1, "fast"))}
    found = race(contenders, 3, PackageMeter(tmp_path), turn=6, clock=lambda: now[0])
    assert found["slow"].seconds == (0.5, 0.5, 0.5)
    assert found["fast"].seconds == (1, 1, 1)
    assert found["fast"].joules == (0.001, 0.001, 0.001)
    assert found["slow"].joules == (0.00025, 0.00025, 0.00025)
    assert found["slow"].times_as_fast_as(found["fast"]) == 2
    # Two calls of each to find out how often it is called in 6 s; then a warm-up in each turn.
    warm = ["slow"] * 2 + ["fast"] * 2
    slow, fast = ["slow"] * (1 + 3), ["fast"] * (1 + 6)
    assert order == [*warm, *slow, *fast, *fast, *slow, *slow, *fast]
