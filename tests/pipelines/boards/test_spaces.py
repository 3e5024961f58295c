"""Search spaces of tuning: wrong ones are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.boards.spaces import Tuning


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
    fields = {"workload": "digits-snn", "density": 0.1, "trials": 3, "seeds": [100]}
    with pytest.raises(ValidationError, match=reason):
        Tuning.model_validate(fields | {"spaces": {"magnitude": {"stop": values}}})
