"""Admission: cells that a method cannot run are refused."""

from __future__ import annotations

import dataclasses

import pytest

from pipelines.boards.params import Params
from pipelines.common.errors import InputError
from pipelines.methods.registry import method
from pipelines.settings.spec import EMERGENT
from pipelines.training.cell import check


def test_impossible_cells_are_refused(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, granularity, density, reason in [
        ("dpap", "unstructured", 0.5, "has granularity structured, hybrid, not unstructured"),
        ("magnitude", "structured", EMERGENT, "give --density"),
        ("dense", "none", 0.5, "its density must be 1"),
    ]:
        with pytest.raises(InputError, match=reason):
            params.spec("digits-snn", name, granularity, density, 0)
    with pytest.raises(InputError, match="needs time steps; the network of digits-ann"):
        params.spec("digits-ann", "random", "spatio-temporal", 0.5, 0)
    for name, granularity, workload, density, synops, reason in [
        ("admm", "structured", "digits-snn", "synops", 900.0, "cannot aim at SynOps"),
        ("random", "spatio-temporal", "digits-snn", "synops", 900.0, "cannot aim at SynOps"),
        ("random", "structured", "digits-ann", "synops", 900.0, "artificial and has no SynOps"),
        ("random", "structured", "digits-snn", 0.5, 900.0, "either a density or a number"),
        ("random", "structured", "digits-snn", "synops", None, "either a density or a number"),
    ]:
        with pytest.raises(InputError, match=reason):
            params.spec(workload, name, granularity, density, 0, "from-scratch", synops)
    spec = params.spec("digits-snn", "dense", None, 1.0, 0)
    assert check(spec).info.name == "dense"
    info = dataclasses.replace(method("magnitude").info, tracks=("from-scratch",))
    monkeypatch.setattr(method("magnitude"), "info", info)
    with pytest.raises(
        InputError, match="does not take part in track post-training, only in from-sc"
    ):
        params.spec("digits-snn", "magnitude", None, 0.5, 0, "post-training")
