"""Presets: what differs between the paper and the released code."""

from __future__ import annotations

import inspect
from dataclasses import asdict

from dpap import DPAP, PAPER, RELEASED, presets


def test_presets_differ_where_the_table_says() -> None:
    differences = {k for k, v in asdict(PAPER).items() if asdict(RELEASED)[k] != v}
    assert differences == {
        "trace_mean",
        "theta",
        "accumulate",
        "unit_importance",
        "normalization",
        "conv_epsilon",
        "bonus_at_zero",
        "decay",
    }
    table = inspect.getdoc(presets) or ""
    for field in asdict(PAPER):
        assert field.removeprefix("conv_").removeprefix("linear_") in table
    assert DPAP.from_preset(RELEASED, updates=50) == DPAP(**(asdict(RELEASED) | {"updates": 50}))
