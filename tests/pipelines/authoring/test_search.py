"""The search: distributions, the first setting, and convergence."""

from __future__ import annotations

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipelines.authoring.search import Search, distributions
from pipelines.boards.spaces import Choices, Range


def test_distributions_follow_the_types_of_the_hyper_parameters() -> None:
    space = {
        "updates": Range(low=10, high=200, log=True),
        "stop": Range(low=0, high=1),
        "p": Choices(choices=(1, 2)),
    }
    assert distributions("magnitude", space) == {
        "updates": IntDistribution(10, 200, log=True),
        "stop": FloatDistribution(0, 1),
        "p": CategoricalDistribution((1, 2)),
    }


def test_the_search_begins_with_the_start_and_learns() -> None:
    start = {"start": 0.1, "stop": 0.6, "updates": 100, "scope": "global", "p": 2}
    search = Search("magnitude", {"stop": Range(low=0.0, high=1.0)}, start)
    assert search.ask(1) == [start]
    search.tell([0.0])
    tried: list[float] = []
    for _ in range(12):
        asked = [options["stop"] for options in search.ask(4)]
        search.tell([-abs(stop - 0.21) for stop in asked])
        tried += asked
    assert all(stop == float(f"{stop:.3g}") for stop in tried)
    late = tried[-12:]
    assert sum(abs(stop - 0.21) < 0.15 for stop in late) > 6, "chance would give 4 of 12"
