"""docs/findings.md and results/claims.yaml: figures of the records, and claims that exist here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.boards.params import Params
from pipelines.report.findings.blocks import CLAIMS, fill_blocks
from pipelines.report.findings.claims import OWN_SHUFFLE, Check, load_claims
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "findings.md"


def checks() -> list[Check]:
    return [check for claim in load_claims(ROOT / CLAIMS) for check in claim.checks]


def test_enough_claims_can_be_checked() -> None:
    claims = load_claims(ROOT / CLAIMS)
    assert sum(bool(claim.checks) for claim in claims) >= 12
    assert len({claim.claim for claim in claims}) == len(claims)
    desk = [claim for claim in claims if any(check.board == "desk" for check in claim.checks)]
    assert len(desk) >= 12


@pytest.mark.parametrize("check", checks(), ids=lambda one: f"{one.method}-{one.board}")
def test_a_check_names_rows_of_its_board(check: Check, params: Params) -> None:
    board = params.board(check.board)
    part = ([check.workload], check.methods, [check.density])
    found = {
        (one.name, one.granularity, one.density, one.track)
        for one in board.places(params.workloads, *part)
    }
    assert (check.method, check.granularity, check.density, check.track) in found
    if check.against == OWN_SHUFFLE:
        assert "shuffled" in board.controls
    elif check.against == "dense":
        assert ("dense", "none", 1.0, check.track) in found
    elif check.against is not None:
        granularity = check.against_granularity or check.granularity
        assert (check.against, granularity, check.density, check.track) in found


def test_the_blocks_of_the_quick_board_are_those_of_its_records(
    params: Params, tmp_path: Path
) -> None:
    """After a change of the records: dpap-bench findings docs/findings.md."""
    page = PAGE.read_text()
    start, end = (f"<!-- {name}findings: quick 0.1 -->" for name in ("", "end of "))
    block = page[page.index(start) : page.index(end) + len(end)]
    copy = tmp_path / "page.md"
    copy.write_text(f"{start}\n{end}")
    fill_blocks(params, ROOT, copy)
    assert copy.read_text() == block


def test_the_text_around_the_blocks_has_no_results() -> None:
    """The command alone writes intervals and differences."""
    text, inside = [], False
    for line in PAGE.read_text().splitlines():
        if line.startswith("<!-- "):
            inside = not line.startswith("<!-- end of ")
        elif not inside:
            text.append(line)
    assert text
    assert not re.search(r"± ?\d|[+-]\d+\.\d\d", "\n".join(text))
