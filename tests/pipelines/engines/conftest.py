"""Cells that take a second each."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload


@pytest.fixture
def cells(params: Params, tiny: dict[str, Workload]) -> list[RunSpec]:
    """Five cells of each digits workload with tiny networks."""
    found = []
    for workload, settings in tiny.items():
        for method, granularity, density in [
            ("dense", "none", 1.0),
            ("random", "unstructured", 0.5),
            ("magnitude", "structured", 0.5),
            ("dpap", "hybrid", 0.5),
            ("dpap", "structured", "emergent"),
        ]:
            cell = params.spec(workload, method, granularity, density, 1)
            found.append(replace(cell, settings=settings))
    return found
