"""Sections of the page besides the board: ranks, equal SynOps, areas, time, costs, literature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.report.analysis.critical_difference import CriticalDifference
from pipelines.report.analysis.literature import LiteratureRow
from pipelines.report.analysis.standings import Analysis
from pipelines.report.charts.critical_difference import critical_difference_diagram
from pipelines.report.formats.table import Table
from pipelines.report.page.page import Section
from pipelines.report.tables.costs import cost_tables
from pipelines.report.tables.literature import literature_table
from pipelines.report.tables.standings import (
    area_tables,
    synops_tables,
    synops_target_tables,
)
from pipelines.report.tables.timing import time_tables


def further_tables(analysis: Analysis) -> list[Table]:
    """Tables that follow the tables by density: time, costs, equal SynOps, areas."""
    return [
        *time_tables(analysis.rows),
        *cost_tables(analysis.rows),
        *synops_target_tables(analysis.rows),
        *synops_tables(analysis.standings),
        *area_tables(analysis.standings),
    ]


def make_sections(
    board: str, analysis: Analysis, published: Sequence[LiteratureRow]
) -> list[Section]:
    """Make the sections of the page after the board, without empty ones."""
    sections = [
        *(_ranks(one) for one in analysis.critical_differences),
        *_of_tables(
            "synops",
            "At equal SynOps",
            "Equal density is not equal cost in a spiking network: a method may keep the units "
            "that fire most. Here methods are compared at equal numbers of synaptic operations: "
            "runs that aim at such a number, where the board has them, and interpolated between "
            "runs at two densities.",
            [*synops_target_tables(analysis.rows), *synops_tables(analysis.standings)],
        ),
        *_of_tables(
            "areas",
            "Over all densities",
            "One number for a whole curve, so that the choice of a density does not matter.",
            area_tables(analysis.standings),
        ),
        *_of_tables(
            "time",
            "Time",
            "Wall-clock times. Compare only rows that were run on the same machine.",
            time_tables(analysis.rows),
        ),
    ]
    sections += _of_tables(
        "costs",
        "Costs",
        "Costs by the conventions that papers use: a static first layer computed at each time step "
        "or once, MACs with zeros or without, and memory with the index of the kept weights.",
        cost_tables(analysis.rows),
    )
    if published:
        sections.append(
            Section(
                "published",
                "Published elsewhere",
                "Results of papers on pruned spiking networks, beside our row if there is one. "
                "Budgets, densities, seeds and the use of the test set differ from paper to paper.",
                tables=(literature_table(board, published),),
            )
        )
    return sections


def _of_tables(anchor: str, title: str, note: str, tables: list[Table]) -> Iterator[Section]:
    if tables:
        yield Section(anchor, title, note, tables=tuple(tables))


def _ranks(one: CriticalDifference) -> Section:
    places = ", ".join(
        f"{method} {rank:.2f}" for method, rank in zip(one.methods, one.ranks, strict=True)
    )
    track = "" if one.track == "from-scratch" else f", {one.track}"
    return Section(
        f"ranks-{one.granularity}{'' if not track else '-' + one.track}",
        f"Average ranks, {one.granularity}{track}",
        f"Friedman's test and Nemenyi's critical difference over {one.blocks} workloads, one block "
        f"each: statistic {one.statistic:.2f}, p = {one.p:.2g}. Methods joined by a bar are not "
        "separated. The ranks in the tables come from tests over seeds instead.",
        figure=critical_difference_diagram(one),
        alternative=f"Average ranks, 1 is best: {places}; critical difference "
        f"{one.critical_difference:.2f}.",
    )
