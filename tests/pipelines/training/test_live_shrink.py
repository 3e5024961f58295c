"""Live shrink: a run in which dead units are removed is the masked run."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext, Pruner
from pipelines.data.splits import Split
from pipelines.methods.registry import make, methods
from pipelines.networks.network import Network
from pipelines.settings.network import NetworkSpec
from pipelines.settings.workload import Recipe
from pipelines.training import live_shrink as shrink
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_network, build_structure
from pipelines.training.live_shrink import Extent, LiveNetwork
from pipelines.training.probe import NetworkProbe
from pipelines.training.schedule import learning_rate
from pipelines.training.trainer import make_optimizer

REMOVING = [
    (name, granularity)
    for name, kind in methods().items()
    for granularity in kind.info.granularities
    if granularity not in ("none", "unstructured") and not kind.info.regrows
]
ONE_SHOT = {"admm", "growing_reg", "small_dense"}  # they remove all their units at once
RECIPES = {
    name: Recipe(epochs=1, batch_size=8, optimizer=name, learning_rate=0.01, weight_decay=0.01)
    for name in ("sgd", "adam", "adamw")
}


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove often, and leave odd widths and padded ones."""
    monkeypatch.setattr(shrink, "WORTH", 0.99)
    monkeypatch.setattr(shrink, "MULTIPLE", 3)


def network(kind: str = "snn") -> Network:
    layout = "8C3-MP2-10C3-MP2-14FC"
    if kind.startswith("residual"):
        kind, layout = kind.removeprefix("residual "), "8C3-MP2-[7C3-8C3]-[10C3s2-10C3]-20FC"
    spec = NetworkSpec(kind=kind, layout=layout, time_steps=3)
    return build_network(spec, (1, 8, 8), 4, seed=0).double()


def pruner(name: str) -> Pruner:
    known = {"updates": 10, "start": 0.1, "first_update": 1, "conv_epsilon": 1.9, "conv_eta": 99.0}
    fields = set(methods()[name].__dataclass_fields__)  # type: ignore[attr-defined]
    return make(name, {k: v for k, v in known.items() if k in fields})


def train(
    enabled: bool, name: str, granularity: str, kind: str, optimizer: str, penalty: bool
) -> LiveNetwork:
    net = network(kind)
    structure = build_structure(net, granularity)
    recipe = RECIPES[optimizer]
    live = LiveNetwork(net, structure, partial(make_optimizer, recipe=recipe), enabled=enabled)
    method = pruner(name)
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.ones(64, 1, 8, 8).double(), torch.arange(64) % 4)
    probe = NetworkProbe(net, split, 8, BudgetMeter(10**6), torch.Generator())
    rate = partial(learning_rate, recipe)
    method.begin(net, PruneContext(structure, granularity, 0.2, draw, net.steps, probe, rate))  # type: ignore[arg-type]
    data = torch.Generator().manual_seed(1)
    for step in range(1, 26):
        x = torch.randn(8, 1, 8, 8, generator=data, dtype=torch.float64)
        labels = torch.randint(4, (8,), generator=data)
        scores, activity = live.network.run(x)
        if method.info.needs_activity:
            method.observe(live.activity(activity))
        loss = torch.nn.functional.cross_entropy(scores, labels)
        live.sync()
        weights = [p for n, p in net.named_parameters() if n.endswith("weight")]
        extra = sum((w.square().sum() for w in weights), torch.zeros(())) if penalty else None
        own = method.penalty()
        if extra is not None:
            own = 0.01 * extra if own is None else own + 0.01 * extra
        live.backward(loss, own)
        if method.info.needs_gradients:
            live.spread_gradients()
            method.gradients()
        live.optimizer.step()
        live.sync()
        masks = method.masks(step / 25)
        live.load()
        live.prune(masks, step / 25)
    live.sync()
    return live


@pytest.mark.parametrize(("name", "granularity"), REMOVING)
@pytest.mark.parametrize(
    ("kind", "optimizer", "penalty"),
    [
        ("snn", "adamw", False),
        pytest.param("ann", "adam", True, marks=pytest.mark.slow),
        pytest.param("snn", "sgd", True, marks=pytest.mark.slow),
        pytest.param("residual snn", "adamw", False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("snntorch_in_float64")
def test_the_result_is_that_of_the_masked_run(
    name: str, granularity: str, kind: str, optimizer: str, penalty: bool
) -> None:
    if kind == "ann" and (methods()[name].info.needs_spikes or granularity == "spatio-temporal"):
        pytest.skip("needs spikes")
    masked, live = (
        train(enabled, name, granularity, kind, optimizer, penalty) for enabled in (False, True)
    )
    assert not masked.shrunk_at
    assert len(live.shrunk_at) >= (1 if name in ONE_SHOT else 2)
    assert live.network.layout != live.full.layout == masked.full.layout
    for key in ("parameters", "units", "steps"):
        one, other = getattr(masked.masks, key), getattr(live.masks, key)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[k], other[k]) for k in one), key
    chance = torch.Generator().manual_seed(2)  # few inputs make a pruned network spike
    x = torch.randn(256, 1, 8, 8, generator=chance, dtype=torch.float64)
    for net in (masked.full, live.full, live.network):
        net.eval()
    wanted = masked.full(x)
    assert wanted.std(0).any()
    torch.testing.assert_close(live.full(x), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(live.network(x), wanted, rtol=1e-5, atol=1e-5)
    for (n, p), q in zip(masked.full.named_parameters(), live.full.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7, msg=n)


@pytest.mark.parametrize("kind", ["snn", "residual snn"])
@pytest.mark.usefixtures("snntorch_in_float64")
def test_the_method_sees_dense_activity(kind: str) -> None:
    live = train(True, "dpap", "structured", kind, "adamw", False)
    x = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    pairs = live.network.eval().run(x)[1]
    wanted = Activity(live.full.eval().run(x)[1])
    found = live.activity(pairs)
    assert list(found) == list(wanted)
    for layer in wanted:
        for one, other in zip(found[layer], wanted[layer], strict=True):
            torch.testing.assert_close(one, other)
        for one, other in zip(found.units(layer), wanted.units(layer), strict=True):
            torch.testing.assert_close(one, other)


def test_cut_and_spread_are_inverse() -> None:
    structure = build_structure(network().float(), "structured")
    units = {g.name: torch.arange(g.size) % 2 == 0 for g in structure.groups}
    extent = Extent(structure, units)
    assert extent.widths == [4, 5, 7]
    assert extent.weights == 4 * 9 + 5 * 4 * 9 + 7 * 5 * 4
    masks = structure.masks(units)
    for name, parameter in network().named_parameters():
        zeroed = parameter.detach() * masks.parameters.get(name, torch.tensor(True))
        small = extent.cut(name, zeroed)
        back = extent.spread(name, small, torch.full_like(zeroed, torch.nan))
        assert torch.equal(back, zeroed), name


def test_a_shortcut_has_the_width_of_the_layer_that_it_adds_to() -> None:
    structure = build_structure(network("residual ann").float(), "structured")
    units = {g.name: torch.arange(g.size) % 2 == 0 for g in structure.groups}
    extent = Extent(structure, units)
    assert extent.widths == [4, 4, 4, 5, 5, 10], "of the layers with neurons"
    assert [*extent.shares.values()] == [4 / 8, 4 / 7, 4 / 8, 5 / 10, 5 / 10, 10 / 20]
    small = network("residual ann").narrowed(extent.widths)
    assert small.layout == "4C3-MP2-[4C3-4C3]-[5C3s2-5C3]-10FC"
    for name, parameter in network("residual ann").named_parameters():
        assert extent.cut(name, parameter).shape == small.get_parameter(name).shape, name


def test_units_that_come_back_are_told() -> None:
    live = train(True, "magnitude", "structured", "ann", "adam", False)
    alive = {name: torch.ones_like(kept) for name, kept in live.masks.units.items()}
    with pytest.raises(ValueError, match=r"came back .* info\.regrows"):
        live.prune(live.structure.masks(alive), 1.0)


def test_few_dead_units_are_left_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrink, "WORTH", 0.1)
    assert not train(True, "magnitude", "structured", "ann", "adam", False).shrunk_at
    monkeypatch.setattr(shrink, "WORTH", 0.99)
    monkeypatch.setattr(shrink, "INTERVAL", 0.3)
    first, second = train(True, "magnitude", "structured", "ann", "adam", False).shrunk_at
    assert second - first >= 0.3


def test_no_random_number_is_drawn() -> None:
    net = network()
    before = torch.random.get_rng_state()
    small = net.narrowed((3, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert small.layout == "3C3-MP2-4C3-MP2-5FC"
    assert next(small.parameters()).dtype == torch.float64


def test_asking_for_a_layer_builds_no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps of removed units cost more than a training step of what is left."""
    x = torch.ones(2, 3, 4, 5, 5)
    places = torch.arange(4) * 2, 8
    found = Activity({"a": (x, x)}, {"a": (places, places)})
    monkeypatch.setattr(Activity, "__getitem__", None)
    assert "a" in found
    assert "b" not in found
    assert found.units("a")[0].tolist() == [[[25.0, 0.0] * 4] * 3] * 2
