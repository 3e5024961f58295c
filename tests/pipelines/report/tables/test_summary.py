"""The summary of a board."""

from __future__ import annotations

from pipelines.boards.params import Params
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.tables.summary import summary_markdown
from tests.helpers.handmade import control, record


def test_a_summary_has_a_line_for_each_method(params: Params) -> None:
    made = [record(params, "dense", seed, 0.98) for seed in (0, 1)]
    for density, random, magnitude in ((0.5, 0.90, 0.95), (0.1, 0.70, 0.80)):
        for seed in (0, 1):
            made.append(record(params, "random", seed, random, density))
            made.append(record(params, "magnitude", seed, magnitude + seed / 100, density))
    assert summary_markdown(make_rows(made)).splitlines() == [
        "**digits-snn, structured, from-scratch.** Unpruned: 98.00 ± 0.00 %.",
        "",
        "| method | density 0.5 | density 0.1 |",
        "| --- | ---: | ---: |",
        # Two seeds 1 point apart: 12.7062 x 0.5.
        "| magnitude | 95.50 ± 6.35 | 80.50 ± 6.35 |",
        "| random | 90.00 ± 0.00 | 70.00 ± 0.00 |",
    ], "two seeds: by name, without gains"


def test_with_five_seeds_methods_stand_by_rank_and_have_gains(params: Params) -> None:
    made = []
    for seed, more in enumerate((0.0, 0.01, -0.01, 0.02, -0.02)):
        made.append(record(params, "admm", seed, 0.70 - more))
        made.append(record(params, "random", seed, 0.80))
        made.append(record(params, "taylor", seed, 0.90 + more))
    lines = summary_markdown(analyse(make_rows(made)).rows).splitlines()[2:]
    # Deviation 0.0158 over five seeds: 2.7764 x 0.7071 points.
    assert lines == [
        "| method | rank at 0.5 | density 0.5 |",
        "| --- | ---: | ---: |",
        "| taylor | 1 | 90.00 ± 1.96 (+10.00 ± 1.96) |",
        "| random | 2 | 80.00 ± 0.00 |",
        "| admm | 3 | 70.00 ± 1.96 (-10.00 ± 1.96) |",
    ]


def test_the_gain_over_the_own_shuffle_is_that_of_the_smallest_density(params: Params) -> None:
    made = [record(params, "taylor", seed, 0.9) for seed in range(3)]
    shuffles = [
        control(one, "shuffled", accuracy)
        for one, accuracy in zip(made, (0.87, 0.88, 0.89), strict=True)
    ]
    last = summary_markdown(make_rows([*made, *shuffles])).splitlines()[-1]
    # 2 points, 4.302653 / sqrt(3) either way; three seeds tell no direction.
    assert last == "| taylor | 90.00 ± 0.00 | -0.48 to +4.48 |"
