"""Search spaces of tuning: wrong ones are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.boards.spaces import Tuning

FIELDS: dict[str, Any] = {
    "workloads": ["digits-snn"],
    "density": 0.1,
    "settings": 7,
    "rungs": [2, 5],
    "search_seeds": [1, 2, 3, 4, 5],
    "confirmation_seeds": [6, 7, 8],
}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"low": 0.9, "high": 0.3}, "low 0.9 must be less than high 0.3"),
        ({"low": 0.0, "high": 0.3, "log": True}, "low 0 must be positive where log is true"),
        ({"choices": [1]}, "at least 2 items"),
        ({"low": 0.0, "hihg": 1.0}, "hihg"),
    ],
)
def test_impossible_spaces_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Tuning.model_validate(FIELDS | {"spaces": {"magnitude": {"stop": values}}})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rungs": [2, 2, 5]}, "must rise to the number of search_seeds, 5"),
        ({"rungs": [0, 5]}, "must rise to the number of search_seeds, 5"),
        ({"rungs": [2, 6]}, "must rise to the number of search_seeds, 5"),
        ({"search_seeds": [1, 2, 3, 4, 4]}, "a seed is there twice"),
        ({"confirmation_seeds": [5, 6]}, "the search and its confirmation share none"),
        ({"confirmation_seeds": [6]}, "at least 2 items"),
        ({"settings": 1}, "greater than or equal to 2"),
    ],
)
def test_impossible_searches_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Tuning.model_validate(FIELDS | changes)


def test_the_runs_of_a_search_are_counted() -> None:
    """7 settings on 2 seeds, 4 on 3 more, and two settings on 3 fresh seeds."""
    assert Tuning.model_validate(FIELDS).runs == 7 * 2 + 4 * 3 + 2 * 3
