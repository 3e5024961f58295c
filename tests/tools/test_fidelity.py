"""The table of fidelity: its lines, its place in the page, and that no row contradicts its name."""

from __future__ import annotations

import pytest

from baselines.shared.quantity import Quantity
from pipelines.authoring.fidelity import Findings
from pipelines.common.errors import BenchError
from pipelines.methods.catalogue import infos
from pipelines.metrics.numbers import MISSING
from tools import fidelity


def test_lines_by_hand() -> None:
    quantities = (
        Quantity("|W|", 0.254, "0", most=0.3),
        Quantity("rounds", 2.0, "100", least=30),
    )
    found = Findings(quantities, 0.5, early=0.1, removed=0.25, regrown=1.0)
    assert fidelity.lines("admm", "structured", found) == [
        "| admm | structured | \\|W\\| | 0 | 0.25 | +0.50 | 10 | 25 | 100 |",
        "|  |  | rounds | 100 | 2.00 (**outside**) |  |  |  |  |",
    ]
    (line,) = fidelity.lines("snip", "unstructured", Findings((), -0.2, 0, 0.5, 0))
    own = "correlation of the score with the loss | not given | -0.20"
    assert line == f"| snip | unstructured | {own} | -0.20 | 0 | 50 | 0 |"
    (line,) = fidelity.lines("deep_r", "unstructured", Findings((), None, 1, 0, 0.5))
    own = "share of the final weights that was regrown | not given | 0.50"
    assert line == f"| deep_r | unstructured | {own} | {MISSING} | 100 | 0 | 50 |"


def test_the_table_goes_between_the_markers() -> None:
    text = f"before\n{fidelity.BEGIN}\nold\n{fidelity.END}\nafter"
    written = fidelity.page(text, "new")
    assert written == f"before\n{fidelity.BEGIN}\n\nnew\n\n{fidelity.END}\nafter"
    with pytest.raises(BenchError, match="no markers"):
        fidelity.page("before", "new")


def test_every_method_has_its_lines_and_an_unknown_one_is_refused() -> None:
    found = fidelity.places([])
    assert {name for name, _ in found} == {
        name
        for name, info in infos().items()
        if set(info.granularities) & set(fidelity.GRANULARITIES)
    }
    assert fidelity.places(["admm"]) == [("admm", "structured"), ("admm", "unstructured")]
    with pytest.raises(BenchError, match="no method nobody"):
        fidelity.places(["nobody"])


def test_the_page_has_a_line_for_every_method_and_none_contradicts_its_name() -> None:
    drawn = fidelity.PAGE.read_text().partition(fidelity.BEGIN)[2].partition(fidelity.END)[0]
    for name, granularity in fidelity.places([]):
        assert f"| {name} | {granularity} |" in drawn, "run: python -m tools.fidelity"
    assert "outside" not in drawn
