"""The set of canaries: what it has of every method, workload, plan, track and control."""

from __future__ import annotations

from typing import Literal

import pytest

from pipelines.boards.params import Params
from pipelines.canaries.cells import Canary, all_canaries, choices, option_choices, workload
from pipelines.methods.admission import check
from pipelines.methods.catalogue import infos
from pipelines.records.digest import kind_of
from pipelines.records.lineage import needs


@pytest.fixture(scope="module")
def canaries() -> list[Canary]:
    return all_canaries()


def test_every_method_has_canaries_of_every_granularity(canaries: list[Canary]) -> None:
    cells = {(one.spec.method, one.spec.granularity) for one in canaries if one.of_method}
    assert cells >= {(name, g) for name, about in infos().items() for g in about.granularities}
    for name, about in infos().items():
        own = [one.spec for one in canaries if one.spec.method == name]
        kinds = {spec.settings.network.kind for spec in own}
        assert kinds == ({"snn"} if about.needs_spikes else {"snn", "ann"}), name
        assert {spec.track for spec in own if not spec.control} >= set(about.tracks), name
        emergent = {spec.granularity for spec in own if spec.density == "emergent"}
        assert emergent == (set(about.granularities) if about.emergent else set()), name


def test_the_canaries_cover_every_cell_of_the_boards(
    params: Params, canaries: list[Canary]
) -> None:
    covered = {one.covers for one in canaries}
    for board in params.boards:
        for cell in params.cells(board, admit=False):
            assert set(needs(kind_of(cell))) <= covered, cell.label()


def test_every_canary_is_evidence_for_something_that_its_kind_needs(
    canaries: list[Canary],
) -> None:
    assert len({one.name for one in canaries}) == len(canaries)
    for one in canaries:
        assert one.covers in needs(one.kind)
        dense = one.spec.track == "post-training" or one.spec.control == "reinit"
        assert one.covers.endswith("dense") == (dense and one.covers != "dense snn"), one.name
        assert one.of_method == one.covers.startswith(f"{one.spec.method} "), one.name


def test_the_method_of_every_canary_can_run_it(canaries: list[Canary]) -> None:
    for one in canaries:
        check(one.spec)


def test_controls(canaries: list[Canary]) -> None:
    controls = [one.spec for one in canaries if one.spec.control]
    shuffled = {spec.granularity for spec in controls if spec.control == "shuffled"}
    assert shuffled == {"structured", "unstructured", "hybrid", "spatio-temporal"}
    reinit = {spec.method for spec in controls if spec.control == "reinit"}
    smaller = {"structured", "hybrid"}
    assert reinit == {name for name, about in infos().items() if smaller & {*about.granularities}}


def test_settings_have_a_canary_for_each_choice(canaries: list[Canary]) -> None:
    names = {one.name for one in canaries}
    assert {
        "reset=subtract",
        "surrogate=fast_sigmoid",
        "learn_beta=False",
        "optimizer=sgd",
        "optimizer=adam",
        "schedule=step",
        "loss=mse",
        "precision=bfloat16",
        "live_shrink=False",
        "by=count",
        "values=counts",
        "normalization=none",
    } <= names
    for one in canaries:
        if "=" in one.name and not one.of_method:
            field, _, value = one.name.partition("=")
            settings = one.spec.settings
            parts = (settings.network, settings.recipe, settings.execution, settings.frames)
            assert any(str(getattr(part, field, None)) == value for part in (*parts, settings))


def test_choices_are_the_values_besides_the_default() -> None:
    assert list(choices(bool, True)) == [False]
    assert list(choices(Literal["a", "b", "c"], "b")) == ["a", "c"]
    assert list(choices(Literal["a"] | None, None)) == ["a"]
    assert list(choices(float, 0.5)) == []


def test_options_that_need_another_option_are_left_out() -> None:
    assert ("rule", "hebb") in option_choices("dpap")
    assert ("scope", "erk") in option_choices("magnitude")
    assert option_choices("dense") == []


def test_the_workload_of_a_canary_needs_no_download() -> None:
    assert workload().data == "digits"
    assert workload(data="digits-dvs").frames is not None
    assert workload("relu").network.kind == "ann"


def test_networks_of_factories_have_canaries(canaries: list[Canary]) -> None:
    found = {
        (one.spec.settings.network.takes, one.spec.granularity): one.kind.factories
        for one in canaries
        if one.kind.factories
    }
    assert found == {
        ("step", "structured"): ("examples.snntorch_tutorial:network",),
        ("batch", "unstructured"): ("examples.sew_resnet:network",),
    }
