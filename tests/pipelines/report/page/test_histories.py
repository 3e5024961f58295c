"""Drawings of what a run kept, by hand, and which runs of a board have one."""

from __future__ import annotations

from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.records.trajectory import Moment, Trajectory
from pipelines.report.page.cards import make_cards
from pipelines.report.page.histories import drawings
from tests.helpers.handmade import layered, record


def test_a_drawing_has_a_line_for_each_layer(params: Params) -> None:
    moments = (
        Moment(progress=0.5, units={"conv1": 8}),
        Moment(progress=0.75, units={"conv1": 4}),
    )
    one = layered(record(params, "magnitude", 3, 0.9, 0.1), 0.1)
    one = replace(one, trajectory=Trajectory(moments=moments))
    units, weights = drawings([one, record(params, "magnitude", 4, 0.9)], colours=2)
    (curve,) = units.curves
    # 240 pixels of progress, 96 of share: half at 120, down to 48; then a quarter is left.
    assert (curve.layer, curve.path, curve.share) == ("conv1", "M0 0H120V48H180V72H240", 0.25)
    assert (units.what, units.granularity, units.target, units.seed) == (
        "units",
        "structured",
        "0.1",
        3,
    )
    assert [(c.layer, c.colour, c.share) for c in weights.curves] == [
        ("conv1", 0, 0.25),
        ("conv2", 1, 0.25),  # it lost inputs
        ("fc1", 0, 1.0),
    ]
    assert units.alternative == "Share of units kept in the end: conv1 0.250."
    (card,) = make_cards([one])
    assert [drawing.what for drawing in card.profiles[0].drawings] == ["units", "weights"]
