"""params.yaml: mistakes are refused in one sentence; a board becomes cells and matched runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipelines.boards.hyperparameters import Entry, read_entries, write_entries
from pipelines.boards.params import Params, load_params, read_density
from pipelines.common.errors import InputError
from pipelines.methods.catalogue import info
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec


def refusal(project: Path, old: str, new: str) -> str:
    """The sentence that refuses params.yaml after a replacement in its text."""
    path = project / "params.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as refused:
        load_params(project)
    sentence = str(refused.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("densities: [0.5", "densities: [0.0", "densities"),
        ("densities: [0.5", "densities: [1.5", "densities"),
        ("epochs: 15", "epochs: many", "epochs"),
        ("epochs: 15", "epoch: 20", "epoch"),
        ("layout: 16C3", "layout: 16X3", "none of nCk"),
        ("boards:", "boards: [", "is not valid YAML"),
        ("compute:", "compute: {}\ncompute:", "key 'compute' in line"),
        ("seeds: [0, 1, 2]", "seeds: &three [0, 1, 2]\n    tracks: *three", "by an alias"),
        ("settings: 10", "settings: 1", "tuning.settings: Input should be greater than or equal"),
        ("rungs: [2, 5, 8]", "rungs: [5, 2, 8]", "must rise to the number of search_seeds, 8"),
    ],
)
def test_a_mistake_is_refused(project: Path, old: str, new: str, reason: str) -> None:
    assert reason in refusal(project, old, new)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("boards:", "methods: {magnitude: {p: 2}}\nboards:", "'methods'"),
        ("boards:", "tuned: {magnitude: {}}\nboards:", "'tuned'"),
        ("boards:", "granularities: {magnitude: {}}\nboards:", "'granularities'"),
        ("\ntuning:\n", "\ntuning:\n  spaces: {}\n", "'tuning.spaces'"),
    ],
)
def test_hyper_parameters_and_spaces_belong_to_methods_yaml(
    project: Path, old: str, new: str, key: str
) -> None:
    sentence = refusal(project, old, new)
    assert f"has the key {key}; move" in sentence
    assert sentence.endswith("to methods.yaml.")


def test_a_list_is_not_a_params_yaml(project: Path) -> None:
    (project / "params.yaml").write_text("- boards\n")
    with pytest.raises(InputError, match=r"params.yaml: Input should be a valid dictionary"):
        load_params(project)


def test_the_device_can_be_replaced(project: Path) -> None:
    assert load_params(project).compute.device == "cpu"
    assert load_params(project, "cuda").compute.device == "cuda"


def test_a_board_is_the_whole_grid(params: Params) -> None:
    cells = params.cells("quick")
    board = params.board("quick")
    assert len({cell.run_id for cell in cells}) == len(cells) == params.size("quick")
    # dense; random and magnitude at 3 granularities; lamp, admm and dpap at 2.
    each = 1 + (2 * 3 + 3 * 2) * len(board.densities)
    assert len(cells) == len(board.seeds) * each
    assert all(sum(cell.seed == seed for cell in cells) for seed in board.seeds)


@pytest.mark.parametrize("board", ["quick", "desk"])
def test_the_cells_of_a_board_are_those_that_are_built_one_by_one(
    params: Params, board: str
) -> None:
    places = params.board(board).places(params.workloads)
    alone = [params.spec(*place, admit=False) for place in places]
    assert params.cells(board, admit=False) == alone


def test_a_method_that_needs_spikes_has_cells_on_spiking_workloads_only(params: Params) -> None:
    cells = params.cells("embedded", methods=["dpap-st", "sca"])
    assert {c.workload for c in cells} == {"digits-snn"}


def test_tuned_values_hold_for_one_kind_of_network_and_one_granularity(project: Path) -> None:
    entries = read_entries(project)
    before = load_params(project)
    tuned = {"snn": {"structured": {"stop": 0.7, "p": 2}}, "ann": {"hybrid": {"stop": 0.8}}}
    fields = entries["magnitude"].model_dump() | {"tuned": tuned}
    write_entries(project, entries | {"magnitude": Entry.model_validate(fields)})
    params = load_params(project)
    base = params.methods["magnitude"]
    assert base == before.methods["magnitude"]

    def options(workload: str, granularity: str, name: str = "magnitude") -> dict[str, Any]:
        return params.spec(workload, name, granularity, 0.25, 0).options

    assert options("digits-snn", "structured") == base | {"stop": 0.7, "p": 2}
    assert options("fashion-snn", "structured") == base | {"stop": 0.7, "p": 2}
    hybrid = base | entries["magnitude"].granularities["hybrid"]
    assert options("digits-ann", "hybrid") == hybrid | {"stop": 0.8}
    assert options("digits-snn", "hybrid") == hybrid
    for workload, granularity in (("digits-snn", "unstructured"), ("digits-ann", "structured")):
        assert options(workload, granularity) == base
    one_shot = options("digits-snn", "structured", "magnitude:one-shot")
    assert one_shot == base | {"start": 0.5, "stop": 0.5, "p": 2}, "a variant comes last"

    kept = {cell.run_id for cell in params.cells("embedded")}
    moved = [cell for cell in before.cells("embedded") if cell.run_id not in kept]
    assert {(cell.method, cell.workload, cell.granularity) for cell in moved} == {
        ("magnitude", "digits-snn", "structured"),
        ("magnitude", "digits-ann", "hybrid"),
    }, "the other cells keep their run ids"


class AllReached:
    """A store in which every emergent run reached a density of 0.3."""

    @staticmethod
    def find(spec: RunSpec) -> Any:
        cost = SimpleNamespace(density=0.3)
        return SimpleNamespace(status="ok", outcome=SimpleNamespace(cost=cost))


def test_matched_runs_have_the_density_that_the_emergent_run_reached(params: Params) -> None:
    matched = params.matched("embedded", cast(Store, AllReached()))
    assert {c.density for c in matched} == {0.3}
    assert {c.matched_to for c in matched} == {"dpap"}, "a density says nothing about time steps"
    assert {c.seed for c in matched} == set(params.board("embedded").seeds)


def test_a_method_that_needs_spikes_is_matched_on_spiking_workloads_only(params: Params) -> None:
    matched = params.matched("embedded", cast(Store, AllReached()))
    assert {c.workload for c in matched if c.method == "sca"} == {"digits-snn"}
    assert {c.workload for c in matched if c.method == "grand"} == {"digits-snn", "digits-ann"}


def test_random_has_time_steps_where_another_method_of_the_board_prunes_them(
    params: Params,
) -> None:
    def of(board: str) -> set[str]:
        cells = params.cells(board, methods=["random"])
        return {c.workload for c in cells if c.granularity == "spatio-temporal"}

    assert of("quick") == of("post-training") == set()
    assert of("embedded") == {"digits-snn"}, "the other workload has an artificial network"


def test_without_records_there_are_no_matched_runs_and_no_controls(
    params: Params, tmp_path: Path
) -> None:
    empty = Store(tmp_path)
    assert params.matched("embedded", empty) == []
    assert params.controls("embedded", empty) == []


def test_the_quick_board_has_more_seeds_of_cells_of_the_embedded_one(params: Params) -> None:
    embedded = {cell.run_id for cell in params.cells("embedded")}
    seeds = params.board("embedded").seeds
    assert {cell.run_id for cell in params.cells("quick") if cell.seed in seeds} < embedded
    assert len(params.board("quick").seeds) >= 8


def test_part_of_a_board(params: Params) -> None:
    cells = params.cells("embedded", ["digits-ann"], ["dpap"])
    assert {(c.workload, c.method) for c in cells} == {("digits-ann", "dpap")}
    with pytest.raises(InputError, match="unknown method of the board 'rigl'"):
        params.cells("quick", methods=["rigl"])
    with pytest.raises(InputError, match="unknown workload of the board 'fashion-snn'"):
        params.cells("quick", ["fashion-snn"])
    with pytest.raises(InputError, match="unknown board 'embeded'; did you mean 'embedded'"):
        params.board("embeded")


def test_a_density_is_read_from_the_command_line() -> None:
    assert read_density("magnitude", "0.25") == 0.25
    assert read_density("dpap", "emergent") == "emergent"
    assert read_density("dense", None) == 1.0
    with pytest.raises(InputError, match="'dpap:hebb' needs --density"):
        read_density("dpap:hebb", None)
    with pytest.raises(InputError, match="'half' is neither a number"):
        read_density("dpap", "half")


def test_a_hyper_parameter_may_differ_at_one_granularity(project: Path) -> None:
    text = "magnitude:\n  options: {start: 0.1, stop: 0.6, updates: 100, scope: global, p: 1}\n"
    text += "  granularities:\n    hybrid: {scope: erk, p: 2}\n"
    text += "  tuned:\n    ann:\n      hybrid: {p: 1}\n"
    (project / "methods.yaml").write_text(text)
    params = load_params(project)

    def options(name: str, granularity: str, workload: str = "digits-snn") -> tuple[str, int]:
        found = params.spec(workload, name, granularity, 0.1, 0).options
        return found["scope"], found["p"]

    assert options("magnitude", "structured") == ("global", 1)
    assert options("magnitude", "hybrid") == ("erk", 2)
    assert options("magnitude", "hybrid", "digits-ann") == ("erk", 1), "a tuned value replaces it"
    assert options("magnitude:global", "hybrid") == ("global", 2), "a variant replaces both"


def test_methods_that_can_aim_at_synops_have_cells_at_the_targets(params: Params) -> None:
    board = params.board("equal-synops")
    cells = params.cells("equal-synops")
    aimed = {cell.name for cell in cells if cell.synops}
    able = {name for name in board.methods if info(name).aims_at_synops}
    assert aimed == able == set(board.methods) - {"dense"}
    targets = board.synops["digits-snn"]
    of_magnitude = [cell for cell in cells if cell.name == "magnitude"]
    assert {cell.synops for cell in of_magnitude} == {None, *targets}
    assert len(of_magnitude) == len(board.seeds) * (len(board.densities) + len(targets))
    assert all((cell.density == "synops") == (cell.synops is not None) for cell in cells)
    assert all(cell.target is None for cell in cells if cell.synops)
    assert of_magnitude[-1].label().endswith(f"structured at {targets[-1]:.0f} SynOps seed 7")


def test_target_synops_are_those_of_a_workload_of_the_board(project: Path) -> None:
    sentence = refusal(project, "      digits-snn: [23000", "      other: [23000")
    assert "synops names 'other', which is not on the board" in sentence
