"""params.yaml: mistakes are refused in one sentence; a board becomes cells and matched runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipelines.boards.params import Params, load_params, read_density
from pipelines.common.errors import InputError
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
        ("trials: 12", "trials: 0", "tuning.trials: Input should be greater than or equal to 1"),
    ],
)
def test_a_mistake_is_refused(project: Path, old: str, new: str, reason: str) -> None:
    assert reason in refusal(project, old, new)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("boards:", "methods: {magnitude: {p: 2}}\nboards:", "'methods'"),
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


def test_a_method_that_needs_spikes_has_cells_on_spiking_workloads_only(params: Params) -> None:
    cells = params.cells("embedded", methods=["dpap-st", "sca"])
    assert {c.workload for c in cells} == {"digits-snn"}


class AllReached:
    """A store in which every emergent run reached a density of 0.3."""

    @staticmethod
    def find(spec: RunSpec) -> Any:
        cost = SimpleNamespace(density=0.3)
        return SimpleNamespace(status="ok", outcome=SimpleNamespace(cost=cost))


def test_matched_runs_have_the_density_that_the_emergent_run_reached(params: Params) -> None:
    matched = params.matched("embedded", cast(Store, AllReached()))
    assert {c.density for c in matched} == {0.3}
    assert {c.matched_to for c in matched} == {"dpap"}, "no baseline is spatio-temporal"
    assert {c.seed for c in matched} == set(params.board("embedded").seeds)


def test_a_method_that_needs_spikes_is_matched_on_spiking_workloads_only(params: Params) -> None:
    matched = params.matched("embedded", cast(Store, AllReached()))
    assert {c.workload for c in matched if c.method == "sca"} == {"digits-snn"}
    assert {c.workload for c in matched if c.method == "grand"} == {"digits-snn", "digits-ann"}


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
