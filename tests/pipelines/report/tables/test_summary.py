"""The summary of a board."""

from __future__ import annotations

from pipelines.boards.params import Params
from pipelines.metrics.numbers import MISSING
from pipelines.report.analysis.rows import make_rows
from pipelines.report.tables.summary import summary_markdown
from tests.helpers.handmade import record


def test_a_summary_has_a_line_for_each_method(params: Params) -> None:
    made = [record(params, "dense", seed, 0.98) for seed in (0, 1)]
    for density, random, magnitude in ((0.5, 0.90, 0.95), (0.1, 0.70, 0.80)):
        for seed in (0, 1):
            made.append(record(params, "random", seed, random, density))
            made.append(record(params, "magnitude", seed, magnitude + seed / 100, density))
    assert summary_markdown(make_rows(made)).splitlines() == [
        "**digits-snn, structured, from-scratch.** Unpruned: 98.00 %.",
        "",
        "| method | density 0.5 | density 0.1 | over same allocation |",
        "| --- | ---: | ---: | ---: |",
        f"| magnitude | 95.50 (+5.50) | 80.50 (+10.50) | {MISSING} |",
        f"| random | 90.00 | 70.00 | {MISSING} |",
    ]
