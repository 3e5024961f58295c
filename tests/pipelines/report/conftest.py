"""Records of a small board, made by hand."""

from __future__ import annotations

import pytest

from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from tests.helpers.handmade import record


@pytest.fixture
def records(params: Params) -> list[RunRecord]:
    made = []
    for seed in (0, 1, 2):
        made.append(record(params, "dense", seed, 0.98 + seed / 1000))
        made.append(record(params, "random", seed, 0.90 + seed / 100))
        made.append(record(params, "magnitude", seed, 0.95))
        made.append(record(params, "dpap", seed, 0.94, "emergent"))
    made.append(record(params, "dpap", 0, 0.93))
    made.append(record(params, "dpap", 1, 0.0, status="diverged"))
    return made
