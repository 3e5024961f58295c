"""How far from its target a run may end."""

from __future__ import annotations

from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.settings.tolerance import off_target


def test_a_density_is_off_target_beyond_the_tolerance_of_its_granularity(params: Params) -> None:
    spec = params.spec("digits-snn", "magnitude", "unstructured", 0.1, 0)
    assert off_target(spec, 0.104, 1.0) == ""
    assert off_target(spec, 0.106, 1.0) == "density 0.1060 instead of 0.1"


def test_synops_may_differ_by_a_tenth(params: Params) -> None:
    where = ("digits-snn", "magnitude", "structured", "synops", 0, "from-scratch", 2000.0)
    spec = params.spec(*where)
    assert off_target(spec, 0.01, 2199.0) == off_target(spec, 0.01, 1801.0) == ""
    assert off_target(spec, 0.1, 2201.0) == "2201 SynOps instead of 2000"
    assert off_target(replace(spec, control="shuffled"), 0.1, 5000.0) == "", "a control has none"
