"""A whole board: documents that agree, tracks apart, tables written into a document."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.boards.board import Board
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.report.analysis.board_records import collect
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.build import build, build_partial, update_tables
from pipelines.report.charts.accuracy import accuracy_over_density
from pipelines.report.formats.markdown import to_markdown
from pipelines.report.page.curves import chart_data
from pipelines.report.page.page import render
from pipelines.report.tables.density import COLUMNS, make_tables
from pipelines.report.tables.document import to_csv, to_json
from pipelines.report.tables.paper import paper_tables
from tests.helpers.handmade import PUBLISHED, fill, record


def test_json_csv_and_markdown_agree(records: list[RunRecord]) -> None:
    rows = make_rows(records)
    document = json.loads(to_json("embedded", analyse(rows), records))
    lines = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert len(document["rows"]) == len(lines) == len(rows)
    assert document["run_ids"] == sorted(r.run_id for r in records)
    for one, two in zip(document["rows"], lines, strict=True):
        assert one["method"] == two["method"]
        assert float(two["accuracy"]) == one["accuracy"]["mean"]
    text = to_markdown("embedded", make_tables(rows))
    assert "95.00 ± 0.00" in text
    assert "1 diverged, 1 ok" in text
    assert all(column.title in text for column in COLUMNS if not column.optional)


def test_tables_go_between_the_markers_of_a_document(
    params: Params, records: list[RunRecord], tmp_path: Path
) -> None:
    store = Store(tmp_path / "records")
    for one in records:
        store.write(one)
    board = Board(
        workloads=("digits-snn",), baselines=("dense",), seeds=(0, 1, 2), granularities=("none",)
    )
    small = params.model_copy(update={"boards": {"small": board, "other": board}})
    path = tmp_path / "page.md"
    path.write_text(
        "before <!-- board: small -->old<!-- end of board: small --> after"
        "<!-- summary: small -->old<!-- end of summary: small -->"
    )
    with pytest.raises(BenchError, match="no lines '<!-- board: other -->'"):
        update_tables(small, "other", store, path)
    update_tables(small, "small", store, path)
    text = path.read_text()
    assert text.startswith("before <!-- board: small -->")
    assert "<!-- end of board: small --> after<!-- summary: small -->" in text
    assert text.endswith("<!-- end of summary: small -->")
    assert "old" not in text


def later(params: Params, one: RunRecord, checkpoint: str) -> RunRecord:
    """The same run in the post-training track, ten points below."""
    settings = params.workloads[one.spec.workload]
    spec = replace(one.spec, track="post-training", settings=settings)
    assert one.outcome is not None
    outcome = replace(one.outcome, test_accuracy=one.outcome.test_accuracy - 0.1)
    changes = {"spec": spec, "run_id": spec.run_id, "outcome": outcome, "budget": 50}
    return replace(one, **changes, checkpoint=checkpoint)


def test_tracks_never_mix(params: Params, tmp_path: Path) -> None:
    base = [record(params, name, 0, 0.9) for name in ("dense", "random", "dpap")]
    both = [*base, *(later(params, r, "c0") for r in base)]
    rows = make_rows(both)
    assert [t.track for t in make_tables(rows)] == ["from-scratch", "post-training"]
    assert all(r.drop is None or r.drop.mean == 0 for r in rows), "each has a dense of its own"
    for track, accuracy in (("from-scratch", 90), ("post-training", 80)):
        figure = accuracy_over_density(rows, "digits-snn", track)
        assert {round(p["accuracy"]) for p in figure["data"]["values"]} == {accuracy}
    assert len(paper_tables(rows, both)[0].rows) == 2, "the paper trains from scratch"
    html = render("embedded", rows, make_tables(rows), both)
    assert "100 training samples (15 epochs) from-scratch, 50 training samples (8 epochs)" in html
    assert {p["track"] for p in chart_data(rows)["panels"]} == {"from-scratch", "post-training"}

    store = Store(tmp_path / "records")
    for one in [*both[:-1], later(params, base[-1], "c1")]:
        store.write(one)
    with pytest.raises(BenchError, match="digits-snn seed 0 started from 2 different checkpoints"):
        collect([r.spec for r in both], store)


@pytest.fixture(scope="module")
def growing(params: Params) -> Params:
    """A board of five seeds with two workloads and controls."""
    board = Board(
        workloads=("digits-snn", "digits-ann"),
        baselines=("dense", "random", "magnitude", "lamp"),
        granularities=("none", "unstructured"),
        densities=(0.5, 0.25),
        seeds=tuple(range(5)),
        controls=("shuffled",),
    )
    return params.model_copy(update={"boards": {"growing": board}})


@pytest.fixture(scope="module")
def partial(growing: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of this board without lamp on one workload, and with one seed of magnitude lost."""
    folder = tmp_path_factory.mktemp("growing")
    store = Store(folder / "records")
    fill(growing, "growing", store)
    for spec in growing.cells("growing", ["digits-snn"], ["lamp", "magnitude"]):
        if spec.method == "lamp" or (spec.density, spec.seed) == (0.5, 4):
            store.path(spec).unlink()
    covered = build_partial(growing, "growing", store, folder, PUBLISHED)
    # Ten runs of lamp, one of magnitude, and as many controls.
    assert (covered.missing, covered.cells) == (22, 2 * (5 + 10 * 3 + 10 * 2))
    return folder


TABLE = "22 of 50 runs are missing"
TOTAL = "22 of 110 runs are missing"


def test_a_partial_board_counts_missing_cells_in_every_document(partial: Path) -> None:
    built = partial / "partial"
    assert {path.name for path in partial.iterdir()} == {"records", "controls", "partial"}
    texts = {path.name: path.read_text() for path in built.iterdir() if path.is_file()}
    assert f"Partial board: {TOTAL}." in texts["best.txt"].splitlines()
    (line,) = (line for line in texts["best.txt"].splitlines() if "digits-snn  " in line)
    assert line.endswith("22 of 50")
    assert json.loads(texts["best.json"])["missing"] == 22
    markdown = texts["leaderboard.md"]
    assert markdown.startswith(f"# Leaderboard: growing\n\n**Partial board: {TOTAL}.**")
    assert f"- digits-snn, unstructured, from-scratch: {TABLE}\n" in markdown
    assert f"## digits-snn, unstructured, from-scratch\n\n**{TABLE}.**" in markdown
    assert f"Partial board: {TOTAL}" in texts["leaderboard.tex"]
    assert TABLE in texts["leaderboard.tex"]
    page = texts["leaderboard.html"]
    assert f"<strong>Partial board: {TOTAL}.</strong>" in page.partition("<main>")[0]
    assert re.search(r"digits-snn, unstructured: <b>22</b> of 50", page.partition("<main>")[0])
    assert f'<p class="missing">{TABLE}.</p>' in page
    assert "digits-ann, unstructured: <b>" not in page, "nothing of this table is missing"
    figure = (built / "figures" / "digits-snn-accuracy-density.svg").read_text()
    assert TOTAL.replace("110", "55") in figure, "of its workload: with the unpruned network"


def test_a_partial_board_says_which_rows_lack_seeds(partial: Path) -> None:
    document = json.loads((partial / "partial" / "leaderboard.json").read_text())
    assert (document["partial"], document["missing"], document["cells"]) == (True, 22, 88)
    table = {"workload": "digits-snn", "track": "from-scratch", "granularity": "unstructured"}
    assert table | {"cells": 50, "missing": 22} in document["coverage"]
    rows = {
        (row["method"], row["target"]): row
        for row in document["rows"]
        if row["workload"] == "digits-snn"
    }
    lamp, lacking = rows["lamp", 0.25], rows["magnitude", 0.5]
    assert (lamp["accuracy"], lamp["missing"], lamp["missing_controls"]) == (None, 5, 5)
    assert (lacking["statuses"], lacking["missing"]) == ({"ok": 4}, 1)
    assert lacking["rank"] is None, "four seeds are too few"
    assert rows["random", 0.5]["missing"] == 0
    with (partial / "partial" / "leaderboard.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert sum(int(line["missing"]) + int(line["missing_controls"]) for line in lines) == 22
    assert lines[0]["statuses"] == "5 ok"
    assert "4 ok, 1 missing, 1 control missing" in {line["statuses"] for line in lines}


def test_a_row_without_any_record_is_named_below_its_table(partial: Path) -> None:
    markdown = (partial / "partial" / "leaderboard.md").read_text()
    table = markdown.partition("## digits-snn, unstructured")[2].partition("\n## ")[0]
    assert "Not computed yet, by target: 0.5 (lamp); 0.25 (lamp)." in table
    assert "| lamp" not in table
    assert "| magnitude" in table
    others = markdown.partition("## digits-ann, unstructured")[2]
    assert "Not computed" not in others
    assert "| lamp" in others
    page = (partial / "partial" / "leaderboard.html").read_text()
    assert page.count("Not computed yet, by target: 0.5 (lamp); 0.25 (lamp).") == 1


def test_missing_runs_are_no_failures_in_average_ranks(growing: Params, partial: Path) -> None:
    store = Store(partial / "records")
    covered = build_partial(growing, "growing", store, partial, PUBLISHED)
    found = collect(growing.everything("growing", store), store, partial=True)
    whole = analyse(make_rows(found, covered.absent))
    assert not whole.critical_differences, "random alone is complete on both workloads"


def test_a_complete_board_is_built_as_ever_and_replaces_the_partial_report(
    growing: Params, tmp_path: Path
) -> None:
    store = Store(tmp_path / "records")
    with pytest.raises(BenchError, match="no run of the board 'growing' has a record"):
        build_partial(growing, "growing", store, tmp_path, PUBLISHED)
    fill(growing, "growing", store)
    (tmp_path / "partial").mkdir()
    covered = build_partial(growing, "growing", store, tmp_path, PUBLISHED)
    assert (covered.missing, covered.sentence) == (0, "")
    assert not (tmp_path / "partial").exists()
    document = json.loads((tmp_path / "leaderboard.json").read_text())
    assert (document["partial"], document["missing"]) == (False, 0)
    for name in ("best.txt", "leaderboard.md", "leaderboard.html", "leaderboard.tex"):
        assert "missing." not in (tmp_path / name).read_text()
        assert "Partial" not in (tmp_path / name).read_text()
    store.path(growing.cells("growing")[0]).unlink()
    with pytest.raises(BenchError, match="1 of 110 runs have no record"):
        build(growing, "growing", store, tmp_path, PUBLISHED)
