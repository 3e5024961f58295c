"""The changes of a board as text."""

from __future__ import annotations

from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.report.analysis.changes import changes
from pipelines.report.tables.changes import changes_markdown
from tests.helpers.handmade import record


def cheaper(one: RunRecord) -> RunRecord:
    """The same run with fewer SynOps."""
    assert one.outcome is not None
    cost = replace(one.outcome.cost, synops=150.0)
    return replace(one, outcome=replace(one.outcome, cost=cost), code_digest="b" * 64)


def test_rows_stand_below_what_happened_to_them(params: Params) -> None:
    seeds = (0, 1, 2)
    kept = [record(params, "dense", seed, 0.98) for seed in seeds]
    random = [record(params, "random", seed, 0.90) for seed in seeds]
    old = [*kept, *random, *(record(params, "magnitude", seed, 0.92) for seed in seeds)]
    new = [*kept, *map(cheaper, random), *(record(params, "lamp", seed, 0.93) for seed in seeds)]
    text = changes_markdown("quick", "v1", "HEAD", changes(old, new))
    assert text.startswith(
        "# Board quick: v1 → HEAD\n\n1 row came, 1 went, 1 moved, 1 unchanged.\n"
        "Of the 6 cells that both have, 3 have other results, 0 other settings, 3 other code,\n"
        "and 0 another environment.\n"
    )
    came, went, moved = (text.partition(f"## {name}\n")[2] for name in ("Came", "Went", "Moved"))
    assert "### digits-snn, structured, from-scratch" in moved
    assert "| lamp " in came.partition("## Went")[0]
    assert "| magnitude " in went.partition("## Moved")[0]
    (line,) = (line for line in moved.splitlines() if line.startswith("| random"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "random",
        "0.5",
        "90.00 ± 0.00",
        "+0.00 to +0.00",
        "200 → 150",
        "3 ok",
        "results 3 of 3, code 3 of 3",
    ]
    assert "parameters" not in moved, "no row moved in this cost"


def test_without_changes_there_are_no_tables(params: Params) -> None:
    same = [record(params, "dense", 0, 0.98)]
    text = changes_markdown("quick", "v1", "v2", changes(same, same))
    assert "0 rows came, 0 went, 0 moved, 1 unchanged." in text
    assert "##" not in text.removeprefix("#")
