"""Boards whose tables have their own methods and densities, and parts of a board."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from pipelines.boards.board import Board, Place
from pipelines.boards.coverage import runs_of
from pipelines.boards.params import Params, read_densities
from pipelines.common.errors import InputError
from pipelines.methods.catalogue import info
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec

FIELDS: dict[str, Any] = {
    "workloads": ["digits-snn", "digits-ann"],
    "baselines": ["dense", "random", "magnitude", "lamp"],
    "dpap": ["dpap"],
    "tables": {
        "digits-snn": {"hybrid": ["magnitude", "dpap"], "unstructured": ["lamp", "random"]},
        "digits-ann": {"structured": ["lamp"]},
    },
    "densities": [0.5, 0.1],
    "granularity_densities": {"unstructured": [0.1, 0.02]},
    "emergent": True,
    "matched": ["random", "magnitude"],
    "seeds": [0, 1],
    "controls": ["shuffled"],
}


def board(**changes: Any) -> Board:
    return Board.model_validate(FIELDS | changes)


def keys(places: Sequence[Place]) -> list[tuple[str, str, str, float | str]]:
    """Coordinates of the cells of the first seed, in the order of computation."""
    return [(p.workload, p.name, p.granularity, p.density) for p in places if p.seed == 0]


def test_a_table_has_its_own_methods_and_a_granularity_its_own_densities(params: Params) -> None:
    assert keys(list(board().places(params.workloads))) == [
        ("digits-snn", "dense", "none", 1.0),
        ("digits-snn", "random", "unstructured", 0.1),
        ("digits-snn", "random", "unstructured", 0.02),
        ("digits-snn", "magnitude", "hybrid", 0.5),
        ("digits-snn", "magnitude", "hybrid", 0.1),
        ("digits-snn", "lamp", "unstructured", 0.1),
        ("digits-snn", "lamp", "unstructured", 0.02),
        ("digits-snn", "dpap", "hybrid", "emergent"),
        ("digits-snn", "dpap", "hybrid", 0.5),
        ("digits-snn", "dpap", "hybrid", 0.1),
        ("digits-ann", "dense", "none", 1.0),
        ("digits-ann", "lamp", "structured", 0.5),
        ("digits-ann", "lamp", "structured", 0.1),
    ]


def test_one_density_of_a_board_comes_with_the_unpruned_network(params: Params) -> None:
    wanted = read_densities(["0.02"])
    assert keys(list(board().places(params.workloads, densities=wanted))) == [
        ("digits-snn", "dense", "none", 1.0),
        ("digits-snn", "random", "unstructured", 0.02),
        ("digits-snn", "lamp", "unstructured", 0.02),
        ("digits-ann", "dense", "none", 1.0),
    ]
    found = board().places(params.workloads, ["digits-snn"], ["dpap"], read_densities(["emergent"]))
    assert keys(list(found)) == [("digits-snn", "dpap", "hybrid", "emergent")]


def test_methods_are_computed_in_the_order_in_which_they_are_asked_for(params: Params) -> None:
    found = board().places(params.workloads, ["digits-snn"], ["dpap", "magnitude"], [0.1])
    assert [name for _, name, _, _ in keys(list(found))] == ["dpap", "magnitude"]


def test_a_density_that_the_board_does_not_have_is_refused(params: Params) -> None:
    with pytest.raises(InputError, match=r"no density 0\.3; it has 0\.5, 0\.1, 0\.02, emergent"):
        list(board().places(params.workloads, densities=[0.3]))
    with pytest.raises(InputError, match="'half' is neither a number"):
        read_densities(["half"])
    assert read_densities(None) is None


def test_one_density_of_a_workload_has_more_seeds(params: Params) -> None:
    more = board(seeds=[0, 1], workload_seeds={"digits-snn": {"0.1": [0, 1, 2], "emergent": [3]}})
    found = list(more.places(params.workloads, methods=["dense", "lamp", "dpap"]))
    seeds: dict[tuple[str, str, float | str], list[int]] = {}
    for one in found:
        seeds.setdefault((one.workload, one.name, one.density), []).append(one.seed)
    assert more.all_seeds == (0, 1, 2, 3)
    assert seeds["digits-snn", "dense", 1.0] == [0, 1, 2, 3]
    assert seeds["digits-snn", "lamp", 0.02] == [0, 1]
    assert seeds["digits-snn", "lamp", 0.1] == [0, 1, 2]
    assert seeds["digits-snn", "dpap", "emergent"] == [3]
    assert seeds["digits-ann", "dense", 1.0] == [0, 1]
    assert seeds["digits-ann", "lamp", 0.1] == [0, 1]


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("tables", {"moon": {}}, "tables names 'moon'"),
        ("tables", {"digits-ann": {"structured": ["rigl"]}}, "tables names 'rigl'"),
        ("matched", ["dpap"], "matched names 'dpap'"),
        ("workload_densities", {"moon": [0.1]}, "workload_densities names 'moon'"),
        ("workload_seeds", {"moon": {0.1: [1]}}, "workload_seeds names 'moon'"),
        ("workload_seeds", {"digits-ann": {0.3: [1]}}, "density 0.3 for digits-ann"),
        ("workload_seeds", {"digits-ann": {0.1: [1, 1]}}, "seeds of digits-ann at 0.1"),
        ("granularity_densities", {"weights": [0.1]}, "granularity_densities.weights"),
    ],
)
def test_names_that_are_not_on_the_board_are_refused(field: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        board(**{field: value})
    assert sentence in str(refused.value)


class AllReached:
    """A store in which every run reached a density of 0.3."""

    @staticmethod
    def find(spec: RunSpec) -> Any:
        cost = SimpleNamespace(density=0.3)
        return SimpleNamespace(status="ok", outcome=SimpleNamespace(cost=cost))


def with_board(params: Params, one: Board) -> Params:
    return params.model_copy(update={"boards": {"small": one}})


def test_matched_runs_are_those_of_the_named_baselines_of_the_table(params: Params) -> None:
    store = cast(Store, AllReached())
    small = with_board(params, board())
    # `random` is not in the hybrid table of digits-snn.
    assert {(c.workload, c.name, c.density) for c in small.matched("small", store)} == {
        ("digits-snn", "magnitude", 0.3)
    }
    assert small.part("matched", "small", store, densities=[0.1]) == []
    controls = small.part("controls", "small", store, densities=[0.02])
    assert {(c.name, c.density, c.control) for c in controls} == {("lamp", 0.02, "shuffled")}


def test_a_submitted_method_is_asked_for_in_every_table_that_it_supports(params: Params) -> None:
    grown = board().with_baselines(["grand"])  # structured, unstructured
    cells = grown.places(params.workloads, methods=["grand"])
    assert {(w, g) for w, _, g, _ in keys(list(cells))} == {
        ("digits-snn", "unstructured"),
        ("digits-ann", "structured"),
    }


def test_every_name_in_a_table_has_cells_and_every_method_a_table(params: Params) -> None:
    for name, one in params.boards.items():
        if not one.tables:
            continue
        cells = {(p.workload, p.granularity, p.name) for p in one.places(params.workloads)}
        for workload, table in one.tables.items():
            for granularity, names in table.items():
                for method in names:
                    assert (workload, granularity, method) in cells, f"{name}: {method}"
        assert {method for _, _, method in cells} == {*one.methods}, name
        assert {workload for workload, _, _ in cells} == {*one.workloads}, name


def test_the_boards_in_git_have_what_their_tables_are_read_for(params: Params) -> None:
    """Seeds enough to be ranked or listed, and a control of layer densities for each choice."""
    desk, images = params.board("desk"), params.board("images")
    assert len(desk.seeds) >= 5
    assert len(images.seeds) >= 3
    for name in ("desk", "images"):
        asked = [run.spec for run in runs_of(params, name, lambda _: None)]
        controlled = {(c.workload, c.granularity, c.name) for c in asked if c.control}
        for cell in asked:
            about = info(cell.method)
            if not cell.control and cell.method not in ("dense", "random", "small_dense"):
                assert (cell.workload, cell.granularity, cell.name) in controlled, about.name
        assert all(
            "random" in names for t in params.board(name).tables.values() for names in t.values()
        )
