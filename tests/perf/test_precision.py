"""What bfloat16 does to the accuracy of digits-snn, dense and pruned, over three seeds."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.settings.network import Execution
from pipelines.training.cell import run_cell

SEEDS = (0, 1, 2)
CASES = {"dense": ("dense", "none", 1.0), "magnitude at 0.25": ("magnitude", "structured", 0.25)}


def test_accuracy(benchmark: Any, params: Params, data_root: Path) -> None:
    benchmark.group = "test accuracy of digits-snn in %, mean of three seeds"

    def accuracies() -> dict[str, float]:
        found = {}
        for title, case in CASES.items():
            for name, execution in (
                ("float32", Execution()),
                ("bfloat16", Execution(precision="bfloat16")),
            ):
                reached = []
                for seed in SEEDS:
                    spec = params.spec("digits-snn", *case, seed)
                    changed = spec.settings.model_copy(update={"execution": execution})
                    record = run_cell(replace(spec, settings=changed), data_root)
                    assert record.outcome is not None
                    reached.append(100 * record.outcome.test_accuracy)
                found[f"{title}, {name}"] = round(fmean(reached), 2)
        return found

    benchmark.extra_info |= benchmark.pedantic(accuracies, rounds=1)
