"""Every row of the table in docs/attach.md: supported networks are right, others are refused."""

from __future__ import annotations

import pytest

from tests.helpers.attach_table import BEGIN, CASES, END, FAST, PAGE, outcome, row

TABLE = PAGE.read_text().split(BEGIN)[1].split(END)[0].splitlines()


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=() if x in FAST else pytest.mark.slow) for x in CASES]
)
def test_supported_or_refused(name: str) -> None:
    case, found = CASES[name], outcome(CASES[name])
    if case.refused:
        assert found.startswith("refused: ")
        assert case.refused in found
    else:
        assert found == "supported"
    assert row(case, found) in TABLE


def test_the_table_has_no_other_rows() -> None:
    rows = [line for line in TABLE if line.startswith("| ")]
    assert len(rows) - 2 == len(CASES) >= 60
