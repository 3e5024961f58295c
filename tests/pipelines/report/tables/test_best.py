"""The highest means of a board: for the terminal, and for DVC."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.boards.params import Params
from pipelines.metrics.numbers import MISSING
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.tables.best import best_json, best_rows, best_text
from tests.helpers.handmade import record


@pytest.fixture
def records(params: Params) -> list[RunRecord]:
    """Two methods at two densities; random is ahead at one of them, magnitude lacks the other."""
    made = [record(params, "dense", seed, 0.98) for seed in (0, 1)]
    for seed in (0, 1):
        made.append(record(params, "random", seed, 0.96, 0.5))
        made.append(record(params, "magnitude", seed, 0.94 + seed / 100, 0.5))
        made.append(record(params, "random", seed, 0.80, 0.1, granularity="unstructured"))
    made.append(record(params, "magnitude", 0, 0.99, 0.1, status="diverged"))
    return made


def test_the_highest_mean_of_each_table(records: list[RunRecord]) -> None:
    found = best_rows(make_rows(records))
    methods = {key: {d: row.method for d, row in table.items()} for key, table in found.items()}
    assert methods == {
        ("digits-snn", "from-scratch", "structured"): {0.5: "random"},
        ("digits-snn", "from-scratch", "unstructured"): {0.1: "random"},
    }


def test_the_text_is_one_line_for_each_table(records: list[RunRecord]) -> None:
    lines = best_text(make_rows(records)).splitlines()
    structured, unstructured = (line for line in lines if line.startswith("digits-snn"))
    assert structured.split(maxsplit=2)[1:] == ["structured", f"random 96.0 ± 0.0  {MISSING}"]
    assert unstructured.split()[-4:] == ["random", "80.0", "±", "0.0"]
    assert lines[-1] == "Unpruned: digits-snn 98.0 ± 0.0."
    assert "share its rank" not in "".join(lines), "two seeds rank nothing"


def test_the_text_counts_who_shares_the_first_rank(params: Params) -> None:
    noise = (0.003, -0.002, 0.001, 0.002, -0.004)
    made = []
    for seed, more in enumerate(noise):
        made.append(record(params, "random", seed, 0.80 + more))
        made.append(record(params, "magnitude", seed, 0.95))
        made.append(record(params, "taylor", seed, 0.949 + more))
    analysis = analyse(make_rows(made))
    lines = best_text(analysis.rows, analysis.standings).splitlines()
    (line,) = (line for line in lines if line.startswith("digits-snn"))
    (standing,) = analysis.standings
    (detectable,) = standing.detectable
    smallest = f"{100 * detectable.corrected:.1f}"
    assert line.split() == [
        "digits-snn",
        "structured",
        "magnitude",
        *["95.0", "±", "0.0", "(+1)"],
        smallest,
    ]
    found = json.loads(best_json(analysis.rows, analysis.standings))["digits-snn"]["structured"]
    assert found["smallest_difference"] == detectable.corrected


def test_the_document_has_the_same(records: list[RunRecord]) -> None:
    def accuracy(mean: float) -> dict[str, Any]:
        return {"test_accuracy": pytest.approx(mean), "half_width": 0.0}

    assert json.loads(best_json(make_rows(records))) == {
        "digits-snn": {
            "dense": accuracy(0.98),
            "structured": {"0.5": {"best": "random"} | accuracy(0.96)},
            "unstructured": {"0.1": {"best": "random"} | accuracy(0.80)},
        }
    }


def test_a_board_without_finished_runs(params: Params) -> None:
    rows = make_rows([record(params, "dense", 0, 0.0, status="diverged")])
    assert "Unpruned" not in best_text(rows)
    assert json.loads(best_json(rows)) == {}


def test_a_method_written_after_an_abstract_is_not_named_as_the_best(
    params: Params, records: list[RunRecord]
) -> None:
    better = [record(params, "sca", seed, 0.99, 0.5) for seed in (0, 1)]
    found = best_rows(make_rows([*records, *better]))
    assert found["digits-snn", "from-scratch", "structured"][0.5].method == "random"
