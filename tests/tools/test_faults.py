"""Injected faults at a small number of tries: nothing is lost, half-written, or wrong."""

from __future__ import annotations

from collections import Counter

import pytest

from tools import faults


def test_lines_by_hand() -> None:
    found = {"x": (3, Counter(lost=1, healed=2))}
    assert list(faults.table(found))[-1] == "| x | 3 | 1 | 0 | 0 | 2 | 0 |"


@pytest.mark.slow
@pytest.mark.parametrize("name", faults.FAULTS)
def test_a_fault_does_no_harm(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    faults.main(only=[name], tries=1)
    assert f"| {name} | 1 | 0 | 0 | 0 | 1 | 0 |" in capsys.readouterr().out
