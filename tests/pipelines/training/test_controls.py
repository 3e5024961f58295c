"""Shuffled and reinitialised twins: the numbers of the parent, none of its choices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from baselines.magnitude import Magnitude
from baselines.shared.contract import PruneContext
from baselines.shared.masks import Masks
from pipelines.boards.board import Board
from pipelines.boards.params import Params
from pipelines.common.errors import InputError
from pipelines.common.structs import as_json, decoder
from pipelines.engines.engine import run_cells
from pipelines.methods.admission import refusal
from pipelines.networks.initial import build_network, build_structure, stream
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.records.trajectory import Moment, Tally, Trajectory
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training import cell as cell_module
from pipelines.training import live_shrink as shrink
from pipelines.training.cell import run_cell
from pipelines.training.controls import Shuffled

#: Method, granularity, density, and what is pruned.
CELLS = [
    ("magnitude", "unstructured", 0.5, {"parameters"}),
    ("magnitude", "structured", 0.5, {"parameters", "units"}),
    ("dpap", "hybrid", 0.3, {"parameters", "units"}),
    ("dpap-st", "spatio-temporal", "emergent", {"parameters", "units", "steps"}),
]


def cell(params: Params, tiny: dict[str, Workload], *place: Any, track: str = "") -> RunSpec:
    spec = params.spec("digits-snn", *place, 0, track or "from-scratch")
    return msgspec.structs.replace(spec, settings=tiny["digits-snn"].of_track(spec.track))


def follow(spec: RunSpec, control: str) -> RunSpec:
    return msgspec.structs.replace(spec, control=control)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Masks]:
    """The last masks of each run."""
    found: list[Masks] = []
    original = cell_module.surviving_steps

    def spy(structure: Any, masks: Masks) -> Any:
        found.append(masks)
        return original(structure, masks)

    monkeypatch.setattr(cell_module, "surviving_steps", spy)
    return found


@pytest.mark.parametrize(("method", "granularity", "density", "pruned"), CELLS)
def test_a_shuffled_twin_keeps_the_numbers_and_not_the_places(
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
    if density == "emergent":  # soon enough for a short run
        spec = msgspec.structs.replace(spec, options=spec.options | {"beta": 2.0})
    parent = run_cell(spec, data_root)
    twin = run_cell(follow(spec, "shuffled"), data_root, parent=parent)
    assert (parent.status, twin.status) == ("ok", "ok")
    assert len(parent.trajectory.moments) > 1
    assert twin.trajectory == parent.trajectory, "at every change"
    assert (twin.budget, twin.spent) == (parent.budget, parent.spent)
    assert (twin.parent, parent.parent) == (parent.trajectory.digest, "")
    assert parent.outcome is not None
    assert twin.outcome is not None
    assert twin.outcome.layout == parent.outcome.layout
    assert twin.outcome.cost.density == parent.outcome.cost.density
    assert twin.outcome.cost.timestep_sparsity == parent.outcome.cost.timestep_sparsity
    ours, theirs = seen
    for part in ("parameters", "units", "steps"):
        one, two = getattr(ours, part), getattr(theirs, part)
        assert one.keys() == two.keys() or part == "steps"
        differ = [name for name in two if not torch.equal(one[name], two[name])]
        assert bool(differ) == (part in pruned)
    again = run_cell(follow(spec, "shuffled"), data_root, parent=parent)
    assert again.outcome is not None
    assert again.outcome.test_loss == twin.outcome.test_loss


def test_a_twin_of_pruning_at_initialisation_prunes_before_the_first_step(
    params: Params, tiny: dict[str, Workload], data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AtStart(Magnitude):
        def begin(self, network: nn.Module, context: PruneContext) -> None:
            super().begin(network, context)
            list(self.probe.batches(200))

    monkeypatch.setattr(cell_module, "check", lambda spec: AtStart(start=0.0, stop=0.0))
    spec = cell(params, tiny, "magnitude", "unstructured", 0.5)
    parent = run_cell(spec, data_root)
    (moment,) = parent.trajectory.moments
    assert (parent.spent["saliency"], moment.progress) == (200, 0.0)
    twin = run_cell(follow(spec, "shuffled"), data_root, parent=parent)
    assert twin.spent == {"training": parent.budget}, "it samples nothing"
    assert twin.trajectory == parent.trajectory


def shuffled(
    tiny: dict[str, Workload], granularity: str, *moments: Moment
) -> tuple[Shuffled, PruneContext]:
    network = build_network(tiny["digits-snn"].network, (1, 8, 8), 10, 0)
    structure = build_structure(network, granularity)
    context = PruneContext(structure, granularity, None, stream(0, "x"), steps=4)
    pruner = Shuffled(Trajectory(moments=moments))
    pruner.begin(network, context)
    return pruner, context


def test_what_goes_stays_gone(tiny: dict[str, Workload]) -> None:
    # conv1 6x1x3x3, conv2 8x6x3x3, fc1 12x32; conv2 reads units of conv1, fc1 those of conv2.
    moments = [
        Moment(progress=0.0, units={"conv1": 5}, weights={"fc1": 300}),
        Moment(progress=0.3, units={"conv1": 4, "conv2": 6, "fc1": 9}, weights={"fc1": 150}),
        Moment(progress=0.5, units={"conv1": 2, "fc1": 5}, weights={"fc1": 40}),
    ]
    pruner, context = shuffled(tiny, "hybrid", *moments)
    tally, before = Tally(context.structure), None
    for moment in moments:
        masks = pruner.masks(moment.progress)
        assert masks is not None
        tally.add(masks, moment.progress)
        assert tally.moments[-1] == moment
        assert pruner.masks(moment.progress) is None, "nothing is due twice"
        if before is not None:
            for name, kept in masks.parameters.items():
                assert not bool((kept & ~before.parameters[name]).any()), name
        before = masks
    assert not pruner.due(1.0)


def test_a_weight_comes_back_where_too_few_are_left(tiny: dict[str, Workload]) -> None:
    moments = [
        Moment(progress=0.1, weights={"fc1": 200}),
        Moment(progress=0.2, units={"fc1": 6}, weights={"fc1": 190}),  # of 6 x 32
    ]
    pruner, context = shuffled(tiny, "hybrid", *moments)
    tally = Tally(context.structure)
    for moment in moments:
        masks = pruner.masks(moment.progress)
        assert masks is not None
        tally.add(masks, moment.progress)
    assert tally.moments == moments


def test_a_late_step_takes_the_last_moment_reached(tiny: dict[str, Workload]) -> None:
    moments = [Moment(progress=p, weights={"fc1": n}) for p, n in ((0.1, 300), (0.2, 200))]
    pruner, _ = shuffled(tiny, "unstructured", *moments, Moment(progress=0.9))
    assert not pruner.due(0.05)
    masks = pruner.masks(0.25)
    assert masks is not None
    assert int(masks.parameters["fc1.weight"].sum()) == 200
    assert not pruner.due(0.5)


def test_only_what_changed_is_noted(tiny: dict[str, Workload]) -> None:
    _, context = shuffled(tiny, "spatio-temporal")
    structure, tally = context.structure, Tally(context.structure)
    units = {g.name: torch.ones(g.size, dtype=torch.bool) for g in structure.groups}
    tally.add(structure.masks(units), 0.1)
    assert not tally.moments, "all is there"
    units["fc1"] = torch.arange(12) < 5
    steps = {"fc1": torch.ones(12, 4, dtype=torch.bool)}
    tally.add(replace(structure.masks(units), steps=steps), 0.2)
    steps["fc1"] = torch.arange(12).view(12, 1).expand(12, 4) > 2  # 3 and 4 of the living
    weights = {"fc1": torch.ones(12, 32, dtype=torch.bool)}
    weights["fc1"][0, :7] = False
    tally.add(replace(structure.masks(units, weights), steps=steps), 0.3)
    tally.add(replace(structure.masks(units, weights), steps=steps), 0.4)
    assert tally.moments == [
        Moment(progress=0.2, units={"fc1": 5}),
        Moment(progress=0.3, weights={"fc1": 5 * 32 - 7}, steps={"fc1": 8}),
    ]
    trajectory = Trajectory(restarts=(0.5,), moments=tuple(tally.moments))
    text = json.dumps(as_json(trajectory))
    assert '{"progress": 0.2, "units": {"fc1": 5}}' in text
    assert decoder(Trajectory).decode(text).digest == trajectory.digest


def test_units_that_come_back_have_their_first_values(tiny: dict[str, Workload]) -> None:
    moments = [Moment(progress=0.1, units={"fc1": 3}), Moment(progress=0.2, units={"fc1": 7})]
    pruner, _ = shuffled(tiny, "structured", *moments)
    assert pruner.trajectory.revives
    weight = pruner.network.get_parameter("fc1.weight")
    first = weight.detach().clone()
    few = pruner.masks(0.1)
    assert few is not None
    few.project(pruner.network)
    with torch.no_grad():
        weight.mul_(2)
    more = pruner.masks(0.2)
    assert more is not None
    back = more.units["fc1"] & ~few.units["fc1"]
    assert int(back.sum()) == 4
    assert torch.equal(weight[back], first[back])
    assert torch.equal(weight[few.units["fc1"]], 2 * first[few.units["fc1"]])


def test_units_come_back_in_a_whole_run(
    params: Params, tiny: dict[str, Workload], data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live shrink must not have removed them for good."""
    monkeypatch.setattr(shrink, "MULTIPLE", 1)
    spec = cell(params, tiny, "magnitude", "structured", 0.5)
    parent = run_cell(spec, data_root)
    last = parent.trajectory.moments[-1]
    few = Moment(progress=0.3, units=dict.fromkeys(last.units, 1))
    rising = Trajectory(moments=(few, msgspec.structs.replace(last, progress=0.6)))
    assert rising.revives
    parent = msgspec.structs.replace(parent, trajectory=rising)
    twin = run_cell(follow(spec, "shuffled"), data_root, parent=parent)
    assert twin.status in ("ok", "off-target"), twin.message
    assert [moment.units for moment in twin.trajectory.moments] == [few.units, last.units]


@pytest.mark.parametrize("granularity", ["structured", "hybrid"])
def test_a_reinit_twin_has_the_layout_and_the_whole_budget(
    params: Params, tiny: dict[str, Workload], data_root: Path, granularity: str
) -> None:
    spec = cell(params, tiny, "magnitude", granularity, 0.4)
    parent = run_cell(spec, data_root)
    twin = run_cell(follow(spec, "reinit"), data_root, parent=parent)
    assert (parent.status, twin.status) == ("ok", "ok")
    assert parent.outcome is not None
    assert twin.outcome is not None
    assert twin.outcome.layout == parent.outcome.layout != "6C3-MP2-8C3-MP2-12FC"
    assert twin.spent == {"training": parent.budget}
    assert not twin.trajectory.moments
    assert twin.parent == parent.trajectory.digest
    ours, theirs = twin.outcome.cost, parent.outcome.cost
    assert (ours.macs, ours.prunable) == (theirs.macs, theirs.prunable)
    if granularity == "structured":
        assert (ours.density, ours.parameters) == (theirs.density, theirs.parameters)
    else:
        assert ours.density > theirs.density, "the layout's weights are all there"


def test_after_post_training_a_shuffled_twin_has_the_same_start(
    params: Params, tiny: dict[str, Workload], data_root: Path, tmp_path: Path
) -> None:
    spec = cell(params, tiny, "magnitude", "unstructured", 0.5, track="post-training")
    parent = run_cell(spec, data_root, tmp_path)
    twin = run_cell(follow(spec, "shuffled"), data_root, tmp_path, parent)
    assert twin.checkpoint == parent.checkpoint != ""
    assert twin.trajectory == parent.trajectory


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
def test_what_has_no_control(
    params: Params, data_root: Path, place: Any, control: str, sentence: str | None
) -> None:
    spec = follow(params.spec("digits-snn", *place, 0), control)
    if sentence is None:
        assert refusal(spec) is None
        return
    with pytest.raises(InputError, match=sentence):
        run_cell(spec, data_root)


def test_other_refusals(
    params: Params, tiny: dict[str, Workload], data_root: Path, tmp_path: Path
) -> None:
    later = params.spec("digits-snn", "magnitude", "structured", 0.5, 0, "post-training")
    assert "new weights" in str(refusal(follow(later, "reinit")))
    spec = cell(params, tiny, "magnitude", "structured", 0.5)
    as_dpap = follow(msgspec.structs.replace(spec, twin_of="dpap"), "shuffled")
    assert "at the density of dpap is a matched run" in str(refusal(as_dpap))
    with pytest.raises(InputError, match="follows its parent: run digits-snn magnitude struct"):
        list(run_cells([follow(spec, "shuffled")], data_root, Store(tmp_path / "r"), "serial", 1))
    parent = msgspec.structs.replace(run_cell(spec, data_root), status="off-target")
    with pytest.raises(InputError, match="is off-target; a shuffled twin follows runs that are"):
        run_cell(follow(spec, "shuffled"), data_root, parent=parent)
    other = msgspec.structs.replace(spec, seed=1, control="shuffled")
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


def test_a_control_is_stale_when_its_parent_changed(
    params: Params, tiny: dict[str, Workload], data_root: Path, tmp_path: Path
) -> None:
    params, store = small_board(params, tiny), Store(tmp_path / "records")
    assert params.controls("b", store) == [], "parents come first"
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
    slower = msgspec.structs.replace(parent, train_seconds=99.0)
    store.write(slower)
    assert not store.missing(controls), "another time is no other parent"
    moments = parent.trajectory.moments[:-1]
    other = Trajectory(moments=moments)
    store.write(msgspec.structs.replace(parent, trajectory=other))
    assert store.missing(controls) == controls[1:]
    store.write(msgspec.structs.replace(parent, status="off-target"))
    assert params.controls("b", store) == controls[:1], "only runs that are ok are followed"
