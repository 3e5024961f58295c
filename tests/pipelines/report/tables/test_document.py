"""A board with spikes and five seeds: its documents, their schema, and the same bytes each time."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from dataclasses import replace as replaced
from pathlib import Path

import jsonschema
import pytest
from msgspec.structs import replace

from pipelines.boards.board import Board
from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.report.analysis.critical_difference import (
    CriticalDifference,
    critical_differences,
)
from pipelines.report.analysis.literature import literature
from pipelines.report.analysis.published_results import load_published
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import Analysis, analyse
from pipelines.report.analysis.time_to_target import TARGET_SHARE, target_of, time_to_target
from pipelines.report.build import build
from pipelines.report.charts.critical_difference import critical_difference_figure, diagram_name
from pipelines.report.formats.latex import escape, to_latex
from pipelines.report.formats.markdown import average_ranks, table_markdown, to_markdown
from pipelines.report.formats.table import Table
from pipelines.report.tables.density import make_tables
from pipelines.report.tables.document import schema, to_csv, to_json
from pipelines.report.tables.standings import area_tables, synops_tables
from pipelines.report.tables.timing import time_tables
from tests.helpers.handmade import record
from tests.helpers.paths import ROOT

SCHEMA = ROOT / "docs" / "leaderboard.schema.json"
DENSITIES = (0.5, 0.25, 0.1)


def with_synops(one: RunRecord, synops: float) -> RunRecord:
    assert one.outcome is not None
    cost = replace(one.outcome.cost, synops=synops)
    return replace(one, outcome=replace(one.outcome, cost=cost))


@pytest.fixture(scope="module")
def board(params: Params) -> tuple[Params, list[RunRecord]]:
    """Five seeds of the dense network and of three methods at three densities."""
    draw = random.Random(0)
    methods = ("random", "magnitude", "taylor")
    wanted = Board(
        workloads=("digits-snn",),
        baselines=("dense", *methods),
        granularities=("none", "structured"),
        densities=DENSITIES,
        seeds=tuple(range(5)),
    )
    made = []
    for seed in range(5):
        made.append(with_synops(record(params, "dense", seed, 0.98), 1000.0))
        for i, method in enumerate(methods):
            for density in DENSITIES:
                accuracy = 0.9 + 0.02 * i - 0.02 / density / 10 + draw.gauss(0, 0.002)
                one = record(params, method, seed, accuracy, density, granularity="structured")
                made.append(with_synops(one, 1000 * density * (1 + 0.1 * i)))
    return params.model_copy(update={"boards": {"small": wanted}}), made


@pytest.fixture(scope="module")
def analysis(board: tuple[Params, list[RunRecord]]) -> Analysis:
    return analyse(make_rows(board[1]))


@pytest.fixture(scope="module")
def tables(analysis: Analysis) -> list[Table]:
    standings = analysis.standings
    return [
        *make_tables(analysis.rows, standings),
        *time_tables(analysis.rows),
        *synops_tables(standings),
        *area_tables(standings),
    ]


def test_the_published_schema_is_that_of_the_code() -> None:
    """Else: python -m pipelines.report.tables.document docs/leaderboard.schema.json."""
    assert SCHEMA.read_text() == schema()
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def test_a_board_is_valid_by_the_schema(
    board: tuple[Params, list[RunRecord]], analysis: Analysis
) -> None:
    params, records = board
    published = load_published(ROOT / "results" / "published.yaml")
    beside = literature(published, params, "small", analysis.rows)
    document = json.loads(to_json("small", analysis, records, beside))
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    validator.validate(document)
    assert len(document["literature"]) == len(published.results)
    assert document["rows"][1]["accuracies"].keys() == set("01234")
    assert document["standings"][0]["controls"]
    assert document["standings"][0]["detectable"][0]["seeds"] == 5
    broken = document | {"rows": [document["rows"][0] | {"accuracy": "high"}]}
    assert not validator.is_valid(broken)
    assert not validator.is_valid(document | {"more": 1})


def test_csv_has_two_columns_for_an_estimate_and_none_for_a_list(analysis: Analysis) -> None:
    header, *lines = to_csv(analysis.rows).splitlines()
    names = header.split(",")
    assert {"gain_over_magnitude", "gain_over_magnitude_half_width", "rank"} <= set(names)
    assert {"seconds_to_target", "samples_to_target"} <= set(names)
    assert not {"accuracies", "time_to_target"} & set(names)
    assert len(lines) == len(analysis.rows)


def test_tables_say_what_can_be_told_apart(tables: list[Table]) -> None:
    matched, time, synops, area = tables
    assert [t.granularity for t in tables] == [
        "structured",
        "structured, time",
        "structured, at equal SynOps",
        "structured, areas",
    ]
    assert "rank" in [c.title for c in matched.columns]
    ranks = [row.rank for row in matched.rows]
    assert ranks[0] is None, "the reference is not ranked"
    assert set(ranks[1:]) <= {1, 2, 3}
    pattern = (
        r"difference: \d+\.\d\d points \(standard error \d+\.\d\d by 5 seeds, level 0.05 / 9 comp"
    )
    assert re.search(pattern, matched.note)
    assert "those of the seeds alone" in matched.note, "handmade records have no answers"
    assert "0.50 (0.60)" in table_markdown(time)
    assert {row.share for row in synops.rows} == {0.5, 0.25, 0.1}, "nobody has 5 %"
    assert "random" not in [r.method for r in synops.rows if r.share == 0.05]
    assert "densities 0.5, 0.25, 0.1; 12.0 to 50.0 % of the dense SynOps" in area.note
    assert [row.method for row in area.rows] == ["taylor", "magnitude", "random"]


def test_average_ranks_are_told_in_words_and_drawn(analysis: Analysis) -> None:
    assert analysis.critical_differences == (), "one workload is one block"
    many = [replaced(row, workload=name) for name in "uvwxyz" for row in analysis.rows]
    (one,) = critical_differences(many)
    assert one.methods == ("taylor", "magnitude", "random")
    text = to_markdown("small", [], [one])
    assert "Average ranks over 6 workloads" in text
    assert average_ranks(one) in text
    figure = critical_difference_figure(one)
    drawn = json.dumps(figure)
    assert all(f'"{m} {r:.2f}"' in drawn for m, r in zip(one.methods, one.ranks, strict=True))
    assert f"critical difference {one.critical_difference:.2f}" in drawn
    assert diagram_name(one) == "critical-difference-structured"


def test_a_bar_joins_each_group_that_is_alike() -> None:
    one = CriticalDifference(
        track="post-training",
        granularity="hybrid",
        methods=("a", "b", "c", "d"),
        ranks=(1.0, 2.0, 3.0, 4.0),
        blocks=10,
        statistic=9.0,
        p=0.01,
        critical_difference=1.5,
        alike=(("a", "b"), ("b", "c"), ("c", "d")),
        left_out=("e",),
    )
    drawn = [d for layer in critical_difference_figure(one)["layer"] for d in _data(layer)]
    bars = {(d["rank"], d["last"]) for d in drawn if "last" in d and "label" not in d}
    assert bars == {(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)}
    assert diagram_name(one) == "critical-difference-hybrid-post-training"
    assert "Not separated: a, b; b, c; c, d. Not run everywhere: e." in average_ranks(one)


def _data(layer: dict[str, object]) -> list[dict[str, float]]:
    data = layer.get("data", {})
    assert isinstance(data, dict)
    found: list[dict[str, float]] = data.get("values", [])
    return found


def test_time_to_a_target(params: Params) -> None:
    def run(method: str, seed: int, *accuracies: float) -> RunRecord:
        one = record(params, method, seed, 0.9)
        curve = [
            replace(one.curve[0], validation_accuracy=a, samples=10 * i, seconds=2.0 * i)
            for i, a in enumerate(accuracies, start=1)
        ]
        return replace(one, curve=curve)

    goal = target_of([run("dense", 0, 0.5, 0.9), run("dense", 1, 0.5, 1.0)])
    assert goal == pytest.approx(TARGET_SHARE * 0.95)
    both = [run("random", 0, 0.5, 0.94), run("random", 1, 0.94, 0.5)]
    found = time_to_target(both, goal, one_machine=True)
    assert found is not None
    assert found.samples is not None
    assert found.seconds is not None
    assert (found.samples.mean, found.seconds.mean) == (15, 3.0)
    mixed = time_to_target(both, goal, one_machine=False)
    assert mixed is not None
    assert mixed.seconds is None, "seconds of two machines are not averaged"
    assert mixed.samples == found.samples
    late = time_to_target([*both, run("random", 2, 0.5, 0.6)], goal, one_machine=True)
    assert late is not None
    assert (late.reached, late.runs, late.samples) == (2, 3, None)
    assert time_to_target(both, target_of([]), one_machine=True) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % of a_b & c#1", r"50 \% of a\_b \& c\#1"),
        ("1.00 ± 0.10", r"1.00 $\pm$ 0.10"),
        ("\\input{x}^~", r"\textbackslash{}input\{x\}\textasciicircum{}\textasciitilde{}"),
        ("\u2013", "--"),
    ],
)
def test_latex_escapes(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_latex_has_a_float_for_each_table(tables: list[Table]) -> None:
    text = to_latex("small", tables)
    assert text.isascii()
    floats = re.findall(r"\\begin\{table\*\}.*?\\end\{table\*\}", text, re.DOTALL)
    assert len(floats) == len(tables)
    for part, table in zip(floats, tables, strict=True):
        rules = [part.index(f"\\{name}rule") for name in ("top", "mid", "bottom")]
        assert rules == sorted(rules)
        body = part[rules[0] : rules[2]].replace(r"\&", "")
        lines = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert len(lines) == 1 + len(table.rows)
        assert {line.count("&") for line in lines} == {len(table.columns) - 1}
        assert f"{{l{'r' * (len(table.columns) - 1)}}}" in part
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(set(labels)) == len(tables)
    assert text.count("{") == text.count("}")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no TeX here; the structure is checked")
def test_latex_compiles(tables: list[Table], tmp_path: Path) -> None:
    (tmp_path / "tables.tex").write_text(to_latex("small", tables))
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\n"
        "\\begin{document}\\input{tables}\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_same_records_give_the_same_bytes(
    board: tuple[Params, list[RunRecord]], tmp_path: Path
) -> None:
    params, records = board
    made: list[dict[str, bytes]] = []
    for name, order in (("one", 1), ("two", -1)):
        store = Store(tmp_path / name / "records")
        for one in records[::order]:
            store.write(one)
        out = tmp_path / name / "out"
        build(params, "small", store, out, ROOT / "results" / "published.yaml")
        files = sorted(path for path in out.rglob("*") if path.is_file())
        made.append({str(path.relative_to(out)): path.read_bytes() for path in files})
    assert made[0] == made[1]
    assert {
        *(f"leaderboard.{ending}" for ending in ("json", "csv", "md", "tex", "html")),
        "best.json",
        "best.txt",
        "figures/digits-snn-accuracy-density.svg",
    } <= made[0].keys()
