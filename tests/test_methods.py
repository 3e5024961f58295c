"""The contract, over every registered method at every granularity."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from baselines._template import Template
from baselines.activity import Activity
from baselines.api import PruneContext, Pruner
from baselines.info import PrunerInfo
from baselines.masks import Masks
from pipelines.core import catalogue
from pipelines.core.budget import Budget, BudgetMeter
from pipelines.core.catalogue import infos
from pipelines.core.cell import TOLERANCE, build_network, build_structure, check
from pipelines.core.data import load_training
from pipelines.core.errors import InputError
from pipelines.core.methods import make, method, methods
from pipelines.core.networks import Network
from pipelines.core.probe import NetworkProbe
from pipelines.core.rates import learning_rate
from pipelines.core.spec import EMERGENT
from pipelines.core.train import make_optimizer
from pipelines.core.workloads import Workload
from pipelines.grid import Params

KINDS = methods() | {"template": Template}  # a copy of the template must pass, too
CASES = [(name, g) for name, kind in KINDS.items() for g in kind.info.granularities]
DENSITY = 0.4


def train(
    tiny: dict[str, Workload],
    params: Params,
    data_root: Path,
    name: str,
    granularity: str,
    density: float | None,
    workload: str = "digits-snn",
    epochs: int = 2,
) -> tuple[Network, list[Masks], Pruner, PruneContext]:
    """Train with the bare contract, without the harness's loop."""
    settings = tiny[workload]
    data = load_training(settings.data, data_root)
    network = build_network(settings.network, data.input_shape, data.classes, seed=0)
    budget = BudgetMeter(Budget(epochs * len(data.train)))
    draw = torch.Generator().manual_seed(1)
    context = PruneContext(
        build_structure(network, granularity),
        granularity,
        density,
        torch.Generator().manual_seed(0),
        network.steps,
        NetworkProbe(network, data.train, 64, budget, draw),
        partial(learning_rate, settings.recipe),
    )
    pruner = KINDS[name](**params.methods.get(name, {}))
    pruner.begin(network, context)
    optimizer = make_optimizer(network, settings.recipe)
    masks, batches = [], data.train.inputs.split(64)

    def prune(progress: float) -> None:
        found = pruner.masks(progress) if pruner.due(progress) else None
        if found is not None:
            masks.append(found)
            found.project(network, optimizer)
            network.silence(found.steps)

    prune(0.0)
    for step, inputs in enumerate(epochs * batches, start=1):
        scores, activity = network.run(inputs)
        if pruner.info.needs_activity:
            pruner.observe(Activity(activity))
        loss = scores.square().mean()
        penalty = pruner.penalty()
        optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        if pruner.info.needs_gradients:
            pruner.gradients()
        optimizer.step()
        if masks:
            masks[-1].project(network, optimizer)
        prune(step / (epochs * len(batches)))
    return network, masks, pruner, context


@pytest.mark.parametrize(("name", "granularity"), CASES)
@pytest.mark.parametrize("workload", ["digits-snn", "digits-ann"])
def test_reaches_its_density(
    tiny: dict[str, Workload],
    params: Params,
    data_root: Path,
    name: str,
    granularity: str,
    workload: str,
) -> None:
    """The last masks must keep the share of weights that was asked for."""
    if KINDS[name].info.needs_spikes and tiny[workload].network.kind != "snn":
        pytest.skip("needs spikes")
    target = 1.0 if granularity == "none" else DENSITY
    _, masks, _, context = train(
        tiny, params, data_root, name, granularity, target, workload=workload
    )
    density = context.structure.density(masks[-1] if masks else Masks())
    # The tiny network is coarser than a real one: one of its units holds up to 8 % of it.
    slack = 0.08 if granularity == "structured" else TOLERANCE[granularity]
    assert abs(density - target) <= slack, f"asked for {target}, kept {density:.3f}"


@pytest.mark.parametrize(("name", "granularity"), CASES)
def test_masks_fit_the_network(
    tiny: dict[str, Workload], params: Params, data_root: Path, name: str, granularity: str
) -> None:
    """Masks must be boolean, name parameters, leave the readout's outputs whole."""
    target = 1.0 if granularity == "none" else DENSITY
    network, masks, _, context = train(tiny, params, data_root, name, granularity, target)
    shapes = {n: p.shape for n, p in network.named_parameters()}
    for mask in masks:
        for parameter, kept in mask.parameters.items():
            assert kept.dtype == torch.bool
            assert kept.shape == shapes[parameter]
        readout = mask.parameters.get("readout.weight")
        assert readout is None or bool(readout.any(1).all()), "a class has no input left"
        assert all(x.shape[1] == network.steps for x in mask.steps.values())
        if granularity not in ("none", "unstructured"):
            assert set(mask.units) == {g.name for g in context.structure.groups}
            assert all(bool(kept.any()) for kept in mask.units.values()), "a layer has vanished"
        else:
            assert not mask.units


@pytest.mark.parametrize(("name", "granularity"), CASES)
def test_same_seed_same_masks(
    tiny: dict[str, Workload], params: Params, data_root: Path, name: str, granularity: str
) -> None:
    """A method may draw random numbers from its context's generator only."""
    target = 1.0 if granularity == "none" else DENSITY
    results = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        _, masks, _, _ = train(tiny, params, data_root, name, granularity, target)
        results.append(masks)
    assert len(results[0]) == len(results[1])
    for one, two in zip(*results, strict=True):
        assert one.parameters.keys() == two.parameters.keys()
        for key, kept in one.parameters.items():
            assert torch.equal(kept, two.parameters[key])


@pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if kind.info.emergent])
def test_emergent_methods_need_no_target(
    tiny: dict[str, Workload], params: Params, data_root: Path, name: str
) -> None:
    for granularity in KINDS[name].info.granularities:
        _, masks, _, context = train(tiny, params, data_root, name, granularity, None, epochs=6)
        assert 0 < context.structure.density(masks[-1]) < 1


@pytest.mark.parametrize(("name", "kind"), methods().items())
def test_is_documented(params: Params, name: str, kind: type[Pruner]) -> None:
    """A method names its paper, and params.yaml writes out every hyper-parameter."""
    assert kind.info.name == name
    assert kind.info.summary.endswith(".")
    assert kind.info.paper
    assert kind.info.granularities
    assert inspect.getdoc(kind)
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    assert params.methods[name].keys() == fields.keys(), "write them out in params.yaml"


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_is_small(name: str, kind: type[Pruner]) -> None:
    file = Path(inspect.getfile(kind))
    if file.parent.name == "baselines":
        assert len(file.read_text().splitlines()) <= 80, f"{file} is longer than 80 lines"


def test_unknown_method_and_options_say_what_is_near() -> None:
    with pytest.raises(InputError, match="did you mean 'magnitude'"):
        method("magnitud")
    with pytest.raises(InputError, match="did you mean 'scope'"):
        make("magnitude", {"scop": "global"})
    with pytest.raises(InputError, match="option 'scope': Input should be"):
        make("magnitude", {"scope": "everywhere"})
    with pytest.raises(InputError, match="start <= stop"):
        make("magnitude", {"start": 0.9, "stop": 0.1})
    with pytest.raises(InputError, match="option 'updates'"):
        make("magnitude", {"updates": "many"})


def test_cells_that_cannot_be_are_refused(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, granularity, density, reason in [
        ("dpap", "unstructured", 0.5, "prunes structured, hybrid, not unstructured"),
        ("magnitude", "structured", EMERGENT, "give --density"),
        ("dense", "none", 0.5, "its density is 1"),
    ]:
        with pytest.raises(InputError, match=reason):
            params.spec("digits-snn", name, granularity, density, 0)
    spec = params.spec("digits-snn", "dense", None, 1.0, 0)
    assert check(spec).info.name == "dense"
    info = dataclasses.replace(method("magnitude").info, tracks=("from-scratch",))
    monkeypatch.setattr(method("magnitude"), "info", info)
    with pytest.raises(InputError, match="does not enter the track post-training; it enters from"):
        params.spec("digits-snn", "magnitude", None, 0.5, 0, "post-training")


def test_the_catalogue_says_what_the_classes_say() -> None:
    assert infos() == {name: kind.info for name, kind in methods().items()}


def test_an_info_that_cannot_be_read_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(file: Path) -> Iterator[PrunerInfo]:
        raise ValueError(f"{file}: info is not built where it is set")

    monkeypatch.setattr(catalogue, "_read", unreadable)
    infos.cache_clear()
    try:
        assert infos()["dpap"] is methods()["dpap"].info
    finally:
        infos.cache_clear()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("class A:\n info = PrunerInfo(name='a' + X, summary='', paper='')", ValueError),
        ("class A:\n info = replace(B.info, name='a')", KeyError),
        ("class A:\n info = INFO", ValueError),
        ("class A:\n info = PrunerInfo(nam='a')", TypeError),
    ],
)
def test_what_the_catalogue_cannot_read(
    tmp_path: Path, source: str, error: type[Exception]
) -> None:
    (tmp_path / "a.py").write_text(source)
    with pytest.raises(error):
        list(catalogue._read(tmp_path / "a.py"))
