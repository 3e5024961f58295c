"""Workloads whose network or data are a factory's of tests/helpers/factories.py."""

from __future__ import annotations

from typing import Any

from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from tests.helpers.factories import STEPS

FACTORIES = "tests.helpers.factories"


def own_workload(network: str = "stepped", **fields: Any) -> Workload:
    """A workload of two epochs; `network_fields` replace those of the network."""
    changes = fields.pop("network_fields", {})
    step = {"takes": "step"} if network == "stepped" else {}
    base = {"factory": f"{FACTORIES}:{network}", "time_steps": STEPS} | step
    recipe = {"epochs": 4, "batch_size": 12, "optimizer": "adam", "learning_rate": 0.02}
    given = {
        "data": {"factory": f"{FACTORIES}:samples"},
        "network": {k: v for k, v in (base | changes).items() if v is not None},
        "recipe": recipe,
    }
    return Workload.model_validate(given | fields)


def own_cell(
    workload: Workload, method: str, granularity: str, density: float = 0.5, **fields: Any
) -> RunSpec:
    return RunSpec(
        workload="own",
        settings=workload,
        method=method,
        granularity=granularity,  # type: ignore[arg-type]
        density=density,
        seed=0,
        **fields,
    )
