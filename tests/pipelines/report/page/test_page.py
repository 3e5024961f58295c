"""The page as a document: what it says, that it is safe, and that it is small."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.methods.catalogue import infos
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.page.cards import linked, make_cards
from pipelines.report.page.curves import AXES, chart_data
from pipelines.report.page.origin import make_origin, read_citation
from pipelines.report.page.overview import make_overview
from pipelines.report.page.page import Section, render
from pipelines.report.tables.density import make_tables
from pipelines.settings.rules import RULES_VERSION
from tests.helpers.handmade import board, layered, record, whole_page

EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


def page(records: Sequence[RunRecord], sections: Sequence[Section] = ()) -> str:
    rows = make_rows(records)
    return render("embedded", rows, make_tables(rows), records, sections)


@pytest.fixture(scope="module")
def records(params: Params) -> list[RunRecord]:
    return board(params, ["dpap", "random", "magnitude"], seeds=3)


def renamed(records: Sequence[RunRecord], method: str, name: str) -> list[RunRecord]:
    return [
        replace(r, spec=replace(r.spec, method=name)) if r.spec.method == method else r
        for r in records
    ]


def test_asks_nobody_for_anything(records: list[RunRecord]) -> None:
    html = page(records)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r'(src|action|srcset)="(?!data:)', html)
    assert "<link" not in html
    assert "@import" not in html
    assert "url(" not in html.replace("url(#", "")


def test_the_same_records_give_the_same_bytes(records: list[RunRecord]) -> None:
    assert page(records) == page(list(records))


@pytest.mark.slow
def test_two_thousand_records_fit(params: Params) -> None:
    names = [name for name in infos() if name != "dense"][:32]
    many = board(params, names, seeds=7)
    assert len(many) > 2_000
    assert len(page(many).encode()) < 500_000
    assert len(whole_page(params, many).encode()) < 1_500_000, "with all of its sections"


def test_escapes_what_records_say(records: list[RunRecord]) -> None:
    html = page(renamed(records, "magnitude", EVIL))
    assert "<img src=x" not in html
    assert "alert(2)</script>" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


def test_sections_stand_between_board_and_methods(records: list[RunRecord]) -> None:
    (table, *_) = make_tables(make_rows(records))
    one = Section("ranks", "Ranks", f"Words {EVIL}", "<svg/>", "a diagram", (table,))
    html = page(records, [one])
    section = html[html.index('<section id="ranks">') : html.index('<section id="methods">')]
    assert '<a href="#ranks">Ranks</a>' in html
    assert (
        '<img class="figure" src="data:image/svg+xml;base64,PHN2Zy8+" alt="a diagram">' in section
    )
    assert EVIL not in section
    assert table.title in section
    assert "Ranks" not in page(records)


def test_curves_have_every_axis(records: list[RunRecord]) -> None:
    data = chart_data(make_rows(records))
    assert data["series"][:3] == ["dpap", "random", "magnitude"]
    assert data["highlighted"] == data["series"], "few methods: all stand out"
    (panel,) = (
        p
        for p in data["panels"]
        if (p["workload"], p["granularity"]) == ("digits-snn", "structured")
    )
    assert panel["dense"] == pytest.approx(98.05)
    point = next(p for p in panel["points"] if (p["series"], p["target"]) == (0, "0.25"))
    assert point["kind"] == "at target"
    assert point["flops"] == 100_000
    assert point["train_seconds"] == 2.05
    assert all(point[name] for name in AXES)
    artificial = [p for p in data["panels"] if p["workload"] == "digits-ann"]
    assert all(one["synops"] is None for p in artificial for one in p["points"])


def test_with_many_methods_a_few_stand_out(params: Params) -> None:
    names = [name for name in infos() if name != "dense"]
    data = chart_data(make_rows(board(params, names, seeds=1)))
    assert data["highlighted"] == ["dpap", "dpap-st", "random", "magnitude"]
    assert sorted(data["series"]) == sorted(names)


def test_kinds_of_points(params: Params) -> None:
    made = [record(params, "dpap", seed, 0.9, "emergent") for seed in (0, 1)]
    matched = record(params, "random", 0, 0.8, 0.4)
    spec = replace(matched.spec, matched_to="dpap")
    points = chart_data(make_rows([*made, replace(matched, spec=spec)]))["panels"]
    kinds = {p["target"]: (p["kind"], p["half"] is None) for q in points for p in q["points"]}
    assert kinds == {"emergent": ("emergent", False), "as dpap": ("matched run", True)}


def test_the_overview_names_what_beats_random(params: Params) -> None:
    def runs(method: str, *accuracies: float, density: float = 0.1) -> list[RunRecord]:
        return [record(params, method, i, a, density) for i, a in enumerate(accuracies)]

    made = [
        *(record(params, "dense", seed, 0.98) for seed in range(5)),
        *runs("random", 0.80, 0.81, 0.79, 0.80, 0.80),
        *runs("magnitude", 0.90, 0.91, 0.90, 0.89, 0.90),  # 10 points above at each seed
        *runs("grand", 0.70, 0.93, 0.80, 0.85, 0.76),  # above by 1 point, not at each seed
        *runs("taylor", *5 * [0.5], density=0.5),
        # After an abstract: shown in the table, but no headline.
        *runs("sca", 0.95, 0.96, 0.95, 0.94, 0.95),
    ]
    analysis = analyse(make_rows(made))
    (glance,) = make_overview(analysis.rows, analysis.standings)
    assert (glance.density, glance.methods, glance.seeds) == (0.1, 2, 5)
    assert glance.above_random == ("magnitude",)
    assert [row.method for row in glance.first] == ["magnitude", "grand"]
    assert glance.ranked == 3
    (standing,) = analysis.standings
    (smallest,) = standing.detectable
    assert glance.smallest == smallest.corrected
    few = [one for one in made if one.spec.seed < 2]
    (glance,) = make_overview(make_rows(few))
    assert (glance.above_random, glance.first, glance.methods) == ((), (), 0)
    assert "(2 seeds: not listed)" in page(few)


def test_without_a_single_good_run_the_page_still_stands(params: Params) -> None:
    made = [record(params, name, 0, 0.0, status="failed") for name in ("dense", "random", "dpap")]
    html = page(made)
    assert "<b>0</b> of 3 runs ok" in html
    assert "1 failed" in html


def test_cards(params: Params, records: list[RunRecord]) -> None:
    cards = {card.name: card for card in make_cards(records)}
    assert list(cards) == ["dense", "dpap", "magnitude", "random"]
    dpap = cards["dpap"]
    assert dpap.file == "dpap/pruner.py"
    assert ("arXiv 2211.12714", "https://arxiv.org/abs/2211.12714") in dpap.paper
    assert dpap.options == (params.methods["dpap"],)
    profile = dpap.profiles[0]
    assert (profile.workload, profile.layers) == ("digits-snn", ("conv1", "fc1"))
    assert profile.lines[0].target == "dense"
    assert profile.lines[0].layers == ((1.0, pytest.approx(0.2)), (1.0, pytest.approx(0.1)))
    targets = [(line.granularity, line.target) for line in profile.lines[1:]]
    assert targets[:4] == [("structured", d) for d in ("0.5", "0.25", "0.1", "0.05")]
    assert targets[4][0] == "hybrid"
    quarter = profile.lines[2].layers
    assert quarter[0] == (0.5, pytest.approx(0.1))
    assert quarter[1] == (0.125, pytest.approx(0.05))


def test_layers_are_means_over_runs_that_are_ok(params: Params) -> None:
    made = [layered(record(params, "random", seed, 0.9), d) for seed, d in enumerate((0.2, 0.4))]
    bad = layered(record(params, "random", 2, 0.9, status="off-target"), 1.0)
    (card,) = make_cards([*made, bad])
    ((line,),) = [profile.lines for profile in card.profiles]
    assert line.layers[0][0] == pytest.approx(0.6)


def test_a_method_that_is_not_installed_has_a_card(records: list[RunRecord]) -> None:
    html = page(renamed(records, "magnitude", "elsewhere"))
    assert "not installed where this page was built" in html


@pytest.mark.parametrize(
    ("paper", "pieces"),
    [
        ("none: the reference", [("none: the reference", "")]),
        (
            "A 2018, arXiv 1804.03294; B",
            [
                ("A 2018, ", ""),
                ("arXiv 1804.03294", "https://arxiv.org/abs/1804.03294"),
                ("; B", ""),
            ],
        ),
        (
            "doi:10.1109/TPAMI.2024.3467268",
            [
                (
                    "doi:10.1109/TPAMI.2024.3467268",
                    "https://doi.org/10.1109/TPAMI.2024.3467268",
                )
            ],
        ),
    ],
)
def test_papers_are_linked(paper: str, pieces: list[tuple[str, str]]) -> None:
    assert list(linked(paper)) == pieces


def test_every_paper_with_a_number_has_a_link() -> None:
    for info in infos().values():
        addresses = [address for _, address in linked(info.paper) if address]
        assert bool(addresses) == ("arXiv" in info.paper), info.name


def test_origin(records: list[RunRecord]) -> None:
    newer = replace(
        records[0],
        started_at=records[0].started_at + timedelta(days=3),
        code_digest="b" * 64,
        environment=records[0].environment.model_copy(update={"threads": 2}),
    )
    origin = make_origin([newer, *records[1:]])
    assert origin.newest == "2026-01-05"
    assert [runs for _, runs in origin.environments] == [len(records) - 1, 1]
    assert [digest for digest, _ in origin.digests] == ["a" * 12, "b" * 12]
    assert origin.digests[1][1] == (newer.spec.method,)


def test_citation_is_that_of_the_project() -> None:
    found = read_citation("embedded", "2026-01-05")
    assert found is not None
    assert "note    = {Board embedded, newest run 2026-01-05}" in found.bibtex
    assert found.bibtex.count("{") == found.bibtex.count("}")
    ((text, address),) = found.references
    assert "Bing Han" in text
    assert address == "https://doi.org/10.1109/TPAMI.2024.3467268"


def test_the_data_of_the_curves_is_json(records: list[RunRecord]) -> None:
    html = page(renamed(records, "magnitude", EVIL))
    found = re.search(r'id="chart-data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    assert EVIL in data["series"]


def test_the_page_states_the_version_of_the_rules(records: list[RunRecord]) -> None:
    assert f"All follow version {RULES_VERSION} of the rules (RULES.md)." in page(records)


def test_records_without_times_have_no_date(records: list[RunRecord]) -> None:
    timeless = [replace(one, started_at=None, environment=None) for one in records]
    assert make_origin(timeless).newest == ""
    text = page(timeless)
    assert "newest run" not in text
    assert "an unknown environment" in text
