"""Shuffled and reinit controls: they keep the numbers of the parent, not its choices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from baselines.magnitude import Magnitude
from baselines.shared.contract import PruneContext
from baselines.shared.masks import Masks
from pipelines.boards.board import Board
from pipelines.boards.params import Params
from pipelines.common.errors import InputError
from pipelines.engines.engine import run_cells
from pipelines.methods.admission import refusal
from pipelines.networks.initial import build_network, build_structure, stream
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.records.trajectory import Moment, Trajectory, TrajectoryRecorder
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training import cell as cell_module
from pipelines.training import live_shrink as shrink
from pipelines.training.cell import run_cell
from pipelines.training.controls import Shuffled

#: Method, granularity, density, and the parts of `Masks` in which something is pruned.
CELLS = [
    ("magnitude", "unstructured", 0.5, {"parameters"}),
    ("magnitude", "structured", 0.5, {"parameters", "units"}),
    ("dpap", "hybrid", 0.3, {"parameters", "units"}),
    ("dpap-st", "spatio-temporal", "emergent", {"parameters", "units", "steps"}),
]


def cell(
    params: Params, tiny: dict[str, Workload], *place: Any, track: str = "from-scratch"
) -> RunSpec:
    """The cell of a method, granularity and density, with a tiny network."""
    spec = params.spec("digits-snn", *place, 0, track)
    return replace(spec, settings=tiny["digits-snn"].of_track(spec.track))


def control_of(spec: RunSpec, control: str) -> RunSpec:
    return replace(spec, control=control)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Masks]:
    """The last masks of each run, in the order of the runs."""
    found: list[Masks] = []
    original = cell_module.surviving_steps

    def spy(structure: Any, masks: Masks) -> Any:
        found.append(masks)
        return original(structure, masks)

    monkeypatch.setattr(cell_module, "surviving_steps", spy)
    return found


@pytest.mark.parametrize(("method", "granularity", "density", "pruned"), CELLS)
def test_a_shuffled_control_keeps_as_many_weights_but_others(
    params: Params,
    tiny: dict[str, Workload],
    data_root: Path,
    seen: list[Masks],
    method: str,
    granularity: str,
    density: float | str,
    pruned: set[str],
) -> None:
    spec = cell(params, tiny, method, granularity, density)
    if density == "emergent":  # prune faster, for a short run
        spec = replace(spec, options=spec.options | {"beta": 2.0})
    parent = run_cell(spec, data_root)
    control = run_cell(control_of(spec, "shuffled"), data_root, parent=parent)
    assert (parent.status, control.status) == ("ok", "ok")
    assert len(parent.trajectory.moments) > 1
    assert control.trajectory == parent.trajectory, "the numbers are equal at every change"
    assert (control.budget, control.spent) == (parent.budget, parent.spent)
    assert (control.parent, parent.parent) == (parent.trajectory.digest, "")
    assert parent.outcome is not None
    assert control.outcome is not None
    assert control.outcome.layout == parent.outcome.layout
    assert control.outcome.cost.density == parent.outcome.cost.density
    assert control.outcome.cost.timestep_sparsity == parent.outcome.cost.timestep_sparsity
    parent_masks, control_masks = seen
    for part in ("parameters", "units", "steps"):
        masks, shuffled_masks = getattr(parent_masks, part), getattr(control_masks, part)
        assert masks.keys() == shuffled_masks.keys() or part == "steps"
        differ = any(not torch.equal(masks[name], mask) for name, mask in shuffled_masks.items())
        assert differ == (part in pruned)
    again = run_cell(control_of(spec, "shuffled"), data_root, parent=parent)
    assert again.outcome is not None
    assert again.outcome.test_loss == control.outcome.test_loss


def test_a_shuffled_control_of_pruning_at_initialisation_prunes_at_initialisation(
    params: Params, tiny: dict[str, Workload], data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SamplesAtStart(Magnitude):
        """Uses saliency samples, then prunes before the first training step."""

        def begin(self, network: nn.Module, context: PruneContext) -> None:
            super().begin(network, context)
            list(self.probe.batches(200))

    monkeypatch.setattr(cell_module, "check", lambda spec: SamplesAtStart(start=0.0, stop=0.0))
    spec = cell(params, tiny, "magnitude", "unstructured", 0.5)
    parent = run_cell(spec, data_root)
    (moment,) = parent.trajectory.moments
    assert (parent.spent["saliency"], moment.progress) == (200, 0.0)
    control = run_cell(control_of(spec, "shuffled"), data_root, parent=parent)
    assert control.spent == {"training": parent.budget}, "a control uses no saliency samples"
    assert control.trajectory == parent.trajectory


def shuffled(
    tiny: dict[str, Workload], granularity: str, *moments: Moment
) -> tuple[Shuffled, PruneContext]:
    """The method of a shuffled control with these moments, on a tiny network."""
    network = build_network(tiny["digits-snn"].network, (1, 8, 8), 10, 0)
    structure = build_structure(network, granularity)
    context = PruneContext(structure, granularity, None, stream(0, "x"), steps=4)
    pruner = Shuffled(Trajectory(moments=moments))
    pruner.begin(network, context)
    return pruner, context


def test_nothing_that_was_pruned_comes_back(tiny: dict[str, Workload]) -> None:
    # Weights: conv1 6x1x3x3, conv2 8x6x3x3, fc1 12x32. conv2 reads conv1, fc1 reads conv2.
    moments = [
        Moment(progress=0.0, units={"conv1": 5}, weights={"fc1": 300}),
        Moment(progress=0.3, units={"conv1": 4, "conv2": 6, "fc1": 9}, weights={"fc1": 150}),
        Moment(progress=0.5, units={"conv1": 2, "fc1": 5}, weights={"fc1": 40}),
    ]
    pruner, context = shuffled(tiny, "hybrid", *moments)
    recorder, before = TrajectoryRecorder(context.structure), None
    for moment in moments:
        masks = pruner.masks(moment.progress)
        assert masks is not None
        recorder.add(masks, moment.progress)
        assert recorder.moments[-1] == moment
        assert pruner.masks(moment.progress) is None, "each moment is applied once"
        if before is not None:
            for name, kept in masks.parameters.items():
                assert not bool((kept & ~before.parameters[name]).any()), name
        before = masks
    assert not pruner.due(1.0)


def test_weights_come_back_if_the_kept_units_hold_too_few(tiny: dict[str, Workload]) -> None:
    moments = [
        Moment(progress=0.1, weights={"fc1": 200}),
        Moment(progress=0.2, units={"fc1": 6}, weights={"fc1": 190}),  # of 6 x 32 = 192
    ]
    pruner, context = shuffled(tiny, "hybrid", *moments)
    recorder = TrajectoryRecorder(context.structure)
    for moment in moments:
        masks = pruner.masks(moment.progress)
        assert masks is not None
        recorder.add(masks, moment.progress)
    assert recorder.moments == moments


def test_several_moments_that_are_reached_at_once_are_all_applied(
    tiny: dict[str, Workload],
) -> None:
    moments = [
        Moment(progress=0.1, weights={"fc1": 300}),
        Moment(progress=0.2, weights={"fc1": 200}),
    ]
    pruner, _ = shuffled(tiny, "unstructured", *moments, Moment(progress=0.9))
    assert not pruner.due(0.05)
    masks = pruner.masks(0.25)
    assert masks is not None
    assert int(masks.parameters["fc1.weight"].sum()) == 200
    assert not pruner.due(0.5)


def test_units_that_come_back_have_their_initial_values(tiny: dict[str, Workload]) -> None:
    moments = [Moment(progress=0.1, units={"fc1": 3}), Moment(progress=0.2, units={"fc1": 7})]
    pruner, _ = shuffled(tiny, "structured", *moments)
    assert pruner.trajectory.revives
    weight = pruner.network.get_parameter("fc1.weight")
    initial = weight.detach().clone()
    few = pruner.masks(0.1)
    assert few is not None
    few.project(pruner.network)
    with torch.no_grad():
        weight.mul_(2)
    more = pruner.masks(0.2)
    assert more is not None
    back = more.units["fc1"] & ~few.units["fc1"]
    assert int(back.sum()) == 4
    assert torch.equal(weight[back], initial[back])
    assert torch.equal(weight[few.units["fc1"]], 2 * initial[few.units["fc1"]])


def test_units_come_back_in_a_whole_run(
    params: Params, tiny: dict[str, Workload], data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live shrink must not remove units that come back later."""
    monkeypatch.setattr(shrink, "MULTIPLE", 1)
    spec = cell(params, tiny, "magnitude", "structured", 0.5)
    parent = run_cell(spec, data_root)
    last = parent.trajectory.moments[-1]
    few = Moment(progress=0.3, units=dict.fromkeys(last.units, 1))
    rising = Trajectory(moments=(few, replace(last, progress=0.6)))
    assert rising.revives
    parent = replace(parent, trajectory=rising)
    control = run_cell(control_of(spec, "shuffled"), data_root, parent=parent)
    assert control.status in ("ok", "off-target"), control.message
    assert [moment.units for moment in control.trajectory.moments] == [few.units, last.units]


@pytest.mark.parametrize("granularity", ["structured", "hybrid"])
def test_a_reinit_control_has_the_layout_of_its_parent_and_a_whole_budget(
    params: Params, tiny: dict[str, Workload], data_root: Path, granularity: str
) -> None:
    spec = cell(params, tiny, "magnitude", granularity, 0.4)
    parent = run_cell(spec, data_root)
    control = run_cell(control_of(spec, "reinit"), data_root, parent=parent)
    assert (parent.status, control.status) == ("ok", "ok")
    assert parent.outcome is not None
    assert control.outcome is not None
    assert control.outcome.layout == parent.outcome.layout != "6C3-MP2-8C3-MP2-12FC"
    assert control.spent == {"training": parent.budget}
    assert not control.trajectory.moments
    assert control.parent == parent.trajectory.digest
    cost, parent_cost = control.outcome.cost, parent.outcome.cost
    assert (cost.macs, cost.prunable) == (parent_cost.macs, parent_cost.prunable)
    if granularity == "structured":
        assert cost.density == parent_cost.density
        assert cost.parameters == parent_cost.parameters
    else:
        assert cost.density > parent_cost.density, "no weight of the layout is masked"


def test_on_the_post_training_track_a_shuffled_control_has_the_same_checkpoint(
    params: Params, tiny: dict[str, Workload], data_root: Path, tmp_path: Path
) -> None:
    spec = cell(params, tiny, "magnitude", "unstructured", 0.5, track="post-training")
    parent = run_cell(spec, data_root, tmp_path)
    control = run_cell(control_of(spec, "shuffled"), data_root, tmp_path, parent)
    assert control.checkpoint == parent.checkpoint != ""
    assert control.trajectory == parent.trajectory


@pytest.mark.parametrize(
    ("place", "control", "sentence"),
    [
        (("dense", "none", 1.0), "shuffled", "'dense' prunes nothing; it has no shuffled control"),
        (
            ("random", "structured", 0.5),
            "shuffled",
            "'random' has no shuffled control, because its",
        ),
        (("magnitude", "unstructured", 0.5), "reinit", "leaves no smaller network"),
        (("dpap-st", "spatio-temporal", 0.5), "reinit", "leaves no smaller network"),
        (("random", "structured", 0.5), "reinit", None),
        (("magnitude", "unstructured", 0.5), "shuffled", None),
    ],
)
def test_cells_that_have_no_control_are_refused(
    params: Params, data_root: Path, place: Any, control: str, sentence: str | None
) -> None:
    spec = control_of(params.spec("digits-snn", *place, 0), control)
    if sentence is None:
        assert refusal(spec) is None
        return
    with pytest.raises(InputError, match=sentence):
        run_cell(spec, data_root)


def test_controls_without_a_fitting_parent_are_refused(
    params: Params, tiny: dict[str, Workload], data_root: Path, tmp_path: Path
) -> None:
    later = params.spec("digits-snn", "magnitude", "structured", 0.5, 0, "post-training")
    assert "new weights" in str(refusal(control_of(later, "reinit")))
    spec = cell(params, tiny, "magnitude", "structured", 0.5)
    as_dpap = control_of(replace(spec, matched_to="dpap"), "shuffled")
    assert "at the density of dpap is a matched run" in str(refusal(as_dpap))
    with pytest.raises(InputError, match="follows its parent: run digits-snn magnitude struct"):
        list(
            run_cells([control_of(spec, "shuffled")], data_root, Store(tmp_path / "r"), "serial", 1)
        )
    parent = replace(run_cell(spec, data_root), status="off-target")
    with pytest.raises(InputError, match="is off-target; a shuffled control can only follow"):
        run_cell(control_of(spec, "shuffled"), data_root, parent=parent)
    other = replace(spec, seed=1, control="shuffled")
    with pytest.raises(InputError, match="follows its parent"):
        run_cell(other, data_root, parent=parent)


def small_board(params: Params, tiny: dict[str, Workload]) -> Params:
    board = Board(
        workloads=("digits-snn",),
        baselines=("dense", "random", "magnitude"),
        densities=(0.5,),
        granularities=("none", "structured"),
        seeds=(0,),
        controls=("shuffled", "reinit"),
    )
    return params.model_copy(update={"boards": {"b": board}, "workloads": tiny})


@pytest.mark.slow
def test_a_control_is_stale_when_its_parent_changed(
    params: Params, tiny: dict[str, Workload], data_root: Path, tmp_path: Path
) -> None:
    params, store = small_board(params, tiny), Store(tmp_path / "records")
    assert params.controls("b", store) == [], "there are no controls before their parents have run"
    list(run_cells(params.cells("b"), data_root, store, "serial", 1))
    controls = params.controls("b", store)
    assert [(c.method, c.control) for c in controls] == [
        ("random", "reinit"),
        ("magnitude", "shuffled"),
        ("magnitude", "reinit"),
    ]
    assert params.part("controls", "b", store, methods=["random"]) == controls[:1]
    list(run_cells(controls, data_root, store, "serial", 1))
    assert not store.missing(controls)
    path = store.path(controls[1])
    assert path.parent == tmp_path / "controls" / "digits-snn" / "magnitude-shuffled"

    parent = store.parent(controls[1])
    assert isinstance(parent, RunRecord)
    slower = replace(parent, train_seconds=99.0)
    store.write(slower)
    assert not store.missing(controls), "times of the parent do not matter"
    moments = parent.trajectory.moments[:-1]
    other = Trajectory(moments=moments)
    store.write(replace(parent, trajectory=other))
    assert store.missing(controls) == controls[1:]
    store.write(replace(parent, status="off-target"))
    assert params.controls("b", store) == controls[:1], "only runs that are ok are followed"
