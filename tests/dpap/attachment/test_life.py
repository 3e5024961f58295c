"""What happens to an attached network: saved, copied, resumed, compacted, trained on."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from dpap import DPAP, attach
from dpap.attachment import resize
from dpap.attachment.methods import build_method
from tests.helpers.architectures import Attention, Transformer, chain


def build() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 5)
    )


def start(method: Any = None, **options: Any) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    method = method or DPAP(updates=10)
    given = {"density": 0.4, "saliency": [batch(i) for i in range(3)]} | options
    handle = attach(network, method, example=batch(0)[0], readout="4", optimizer=optimizer, **given)
    return network, optimizer, handle


def batch(i: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(i)
    return torch.randn(16, 10, generator=draw), torch.randint(5, (16,), generator=draw)


def go(
    network: nn.Module, optimizer: torch.optim.Optimizer, handle: Any, first: int, last: int
) -> None:
    for i in range(first, last):
        x, y = batch(i)
        optimizer.zero_grad()
        (functional.cross_entropy(network(x), y) + handle.penalty()).backward()
        optimizer.step()
        handle.update((i + 1) / 12, optimizer)


def saved(value: Any) -> Any:
    """Write a state to a file and read it back as ``torch.load`` does by default."""
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file)


METHODS = [
    *("dpap", "magnitude", "taylor", "rigl", "admm", "deep_r", "dpap-trophic"),
    pytest.param("hessian", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [1, 5])
def test_a_resumed_run_is_the_undisturbed_run(method: str, stop: int) -> None:
    network, optimizer, handle = start(method)
    go(network, optimizer, handle, 0, 12)
    other, moments, again = start(method)
    go(other, moments, again, 0, stop)
    state = saved((other.state_dict(), moments.state_dict(), again.state_dict()))
    other, moments, again = start(method)
    other.load_state_dict(state[0])
    moments.load_state_dict(state[1])
    again.load_state_dict(state[2])
    go(other, moments, again, stop, 12)
    assert handle.density == pytest.approx(0.4, abs=0.06)
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_a_state_of_another_method_or_network_is_refused() -> None:
    _, _, handle = start("magnitude")
    state = handle.state_dict()
    with pytest.raises(ValueError, match="method 'magnitude', not to 'dpap'"):
        start()[2].load_state_dict(state)
    network, optimizer, handle = start()
    go(network, optimizer, handle, 0, 8)
    small = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 5))
    other = attach(small, DPAP(), example=batch(0)[0], readout="2", density=0.5)
    with pytest.raises(ValueError, match="another network"):
        other.load_state_dict(handle.state_dict())


def test_a_copy_of_the_network_is_silent_and_can_be_saved() -> None:
    network, optimizer, handle = start()
    twin = copy.deepcopy(network)
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (twin, loaded):
        other.train()(batch(1)[0])
    go(network, optimizer, handle, 0, 12)
    assert handle.density == pytest.approx(0.4, abs=0.06)


def test_a_copy_of_the_handle_goes_its_own_way() -> None:
    network, optimizer, handle = start()
    go(network, optimizer, handle, 0, 5)
    twin = copy.deepcopy(handle)
    moments = torch.optim.Adam(twin.network.parameters(), 5e-3)
    moments.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    go(twin.network, moments, twin, 5, 12)
    before = handle.density
    assert twin.density == pytest.approx(0.4, abs=0.06)
    assert before > twin.density
    go(network, optimizer, handle, 5, 12)
    for one, two in zip(network.parameters(), twin.network.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_optimizer_goes_on_after_compaction() -> None:
    network, optimizer, handle = start()
    go(network, optimizer, handle, 0, 12)
    masked = copy.deepcopy(network)
    moments = torch.optim.Adam(masked.parameters(), 5e-3)
    moments.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    masks = handle.masks
    handle.compact()
    for i in range(12, 15):  # masked and compacted network stay the same while they train
        x, y = batch(i)
        for net, opt in ((network, optimizer), (masked, moments)):
            opt.zero_grad()
            functional.cross_entropy(net(x), y).backward()
            opt.step()
        masks.project(masked, moments)
    x, _ = batch(20)
    torch.testing.assert_close(network(x), masked(x), rtol=1e-4, atol=1e-4)


def test_best_weights_are_loaded_before_compaction() -> None:
    network, optimizer, handle = start()
    go(network, optimizer, handle, 0, 6)
    weights, state = copy.deepcopy(network.state_dict()), handle.state_dict()
    go(network, optimizer, handle, 6, 12)
    network.load_state_dict(weights)
    x, _ = batch(20)
    wanted = network(x)
    with pytest.raises(ValueError, match="weights of another moment"):
        handle.compact()
    assert torch.equal(network(x), wanted), "nothing was removed"
    handle.load_state_dict(state)
    handle.compact()
    torch.testing.assert_close(network(x), wanted)


def test_a_moving_average_is_compacted_too() -> None:
    network, optimizer, handle = start()
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for i in range(12):
        go(network, optimizer, handle, i, i + 1)
        average.update_parameters(network)
    handle.compact()
    handle.compact_copy(average.module)
    assert average(batch(0)[0]).shape == (16, 5)
    shapes = [p.shape for p in network.parameters()]
    assert [p.shape for p in average.module.parameters()] == shapes


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (build, (10,)),
        (lambda: chain(lambda: nn.GroupNorm(4, 16)), (3, 8, 8)),
        (lambda: Transformer(nn.ReLU, Attention((4, -1))), (7, 6)),
    ],
)
def test_a_compacted_network_is_rebuilt_from_its_state(make: Any, shape: tuple[int, ...]) -> None:
    network, x = make(), torch.randn(4, *shape)
    readout = "4" if shape == (10,) else "fc"
    pruner = DPAP(updates=4, first_update=0, stop=1.0)
    handle = attach(network, pruner, example=x, readout=readout, density=0.4)
    for i in range(4):
        network(x)
        handle.update((i + 1) / 4)
    handle.compact()
    again = make()
    resize(again, saved(network.state_dict()))
    torch.testing.assert_close(again.eval()(x), network.eval()(x))
    with pytest.raises(ValueError, match="another network"):
        resize(nn.Linear(2, 2), network.state_dict())


def test_one_pruner_for_two_networks() -> None:
    pruner = DPAP(updates=10)
    runs = [start(pruner), start(pruner)]
    for run in runs:
        go(*run, 0, 12)
    assert runs[0][2].pruner is not runs[1][2].pruner
    assert [run[2].density for run in runs] == pytest.approx([0.4, 0.4], abs=0.06)


def test_gradient_accumulation_skipped_batches_and_closures() -> None:
    network, _, handle = start()
    seen: list[Any] = []
    handle.pruner.observe = seen.append
    for i in range(3):  # three passes, one update
        functional.cross_entropy(network(batch(i)[0]), batch(i)[1]).backward()
    handle.update(0.05)
    assert len(seen) == 3
    network[0](batch(3)[0])  # given up half-way
    handle.skip()
    network(batch(4)[0])
    handle.update(0.06)
    assert len(seen) == 4
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(batch(5)[0]), batch(5)[1])
        loss.backward()
        return loss

    optimizer.step(closure)
    handle.update(0.07, optimizer)
    assert len(seen) > 4


class SAM:
    """Sharpness-aware minimization (arXiv 2010.01412): two passes per step."""

    def __init__(self, base: torch.optim.Optimizer) -> None:
        self.base = base

    def step(self, closure: Callable[[], Tensor]) -> None:
        closure()
        weights = [p for group in self.base.param_groups for p in group["params"]]
        moves = [0.05 * p.grad / (p.grad.norm() + 1e-12) for p in weights]
        with torch.no_grad():
            for weight, move in zip(weights, moves, strict=True):
                weight.add_(move)
        closure()
        with torch.no_grad():
            for weight, move in zip(weights, moves, strict=True):
                weight.sub_(move)
        self.base.step()


@pytest.mark.parametrize("kind", ["sam", "lbfgs"])
@pytest.mark.parametrize("method", ["dpap", "taylor"])
def test_optimizers_with_closures(kind: str, method: str) -> None:
    network, optimizer, handle = start(method)
    closures = torch.optim.LBFGS(network.parameters(), lr=0.1, max_iter=3)
    stepper: Any = SAM(optimizer) if kind == "sam" else closures
    for i in range(12):
        x, y = batch(i)

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(x), y)
            loss.backward()
            return loss

        stepper.step(closure)
        handle.update((i + 1) / 12, optimizer if kind == "sam" else closures)
    assert handle.density == pytest.approx(0.4, abs=0.06)
    x, _ = batch(20)
    wanted = network(x)
    for name, mask in handle.masks.parameters.items():
        assert not network.get_parameter(name)[~mask].any()
    handle.compact()
    torch.testing.assert_close(network(x), wanted)
    assert len(network[2].weight) == handle.widths["2"] < 24


class Inputs(nn.Module):
    """Several inputs by name, several outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(10, 24), nn.Linear(4, 24)
        self.hidden, self.fc = nn.Linear(24, 24), nn.Linear(24, 5)

    def forward(self, *, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        x = functional.relu(self.left(left) + self.right(right))
        return {"scores": self.fc(functional.relu(self.hidden(x)))}


@pytest.mark.parametrize("method", ["dpap", "magnitude", "snip"])
def test_inputs_and_outputs_by_name(method: str) -> None:
    torch.manual_seed(0)
    network = Inputs()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    loader = [
        ({"left": torch.randn(16, 10), "right": torch.randn(16, 4)}, torch.randint(5, (16,)))
        for _ in range(12)
    ]
    handle = attach(
        network, method, example=loader[0][0], readout="fc", density=0.4, saliency=loader
    )
    for i, (x, y) in enumerate(loader, start=1):
        optimizer.zero_grad()
        functional.cross_entropy(network(**x)["scores"], y).backward()
        optimizer.step()
        handle.update(i / 12, optimizer)
    assert handle.density == pytest.approx(0.4, abs=0.06)
    x, _ = loader[0]
    wanted = network(**x)["scores"]
    handle.compact()
    torch.testing.assert_close(network(**x)["scores"], wanted)


def test_a_compacted_network_is_exported() -> None:
    network, optimizer, handle = start()
    go(network, optimizer, handle, 0, 12)
    handle.compact()
    x, _ = batch(20)
    program = torch.export.export(network.eval(), (x,))
    torch.testing.assert_close(program.module()(x), network(x))


@pytest.mark.slow
def test_a_compacted_network_becomes_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network, optimizer, handle = start()
    go(network, optimizer, handle, 0, 12)
    handle.compact()
    x, _ = batch(20)
    file = str(tmp_path / "network.onnx")
    torch.onnx.export(network.eval(), (x,), file, dynamo=True, input_names=["x"])
    (found,) = runtime.InferenceSession(file).run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), network(x))


def test_activation_checkpointing_does_not_record_twice() -> None:
    network, optimizer, handle = start()
    for i in range(12):
        x, y = batch(i)
        optimizer.zero_grad()
        out = checkpoint(network, x, use_reentrant=False)
        functional.cross_entropy(out, y).backward()
        optimizer.step()
        handle.update((i + 1) / 12, optimizer)
    assert handle.density == pytest.approx(0.4, abs=0.06)


def test_a_forgotten_penalty_and_missing_gradients_are_refused() -> None:
    network, optimizer, handle = start("group_norm")
    functional.cross_entropy(network(batch(0)[0]), batch(0)[1]).backward()
    with pytest.raises(ValueError, match="add penalty"):
        handle.update(0.1, optimizer)
    network, optimizer, handle = start("taylor")
    functional.cross_entropy(network(batch(0)[0]), batch(0)[1]).backward()
    optimizer.zero_grad()
    with pytest.raises(ValueError, match="before zero_grad"):
        handle.update(0.1, optimizer)


def test_saliency_needs_samples() -> None:
    with pytest.raises(
        ValueError, match=r"'snip' needs training samples: give attach\(\) saliency"
    ):
        start("snip", saliency=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magnitud"}, "there is no method 'magnitud'"),
        ({"method": "magnitude", "options": {"q": 1}}, "has no option 'q'"),
        ({"method": "magnitude", "density": None}, "finds no density of its own"),
        ({"method": "dense"}, "prunes nothing"),
        ({"method": "criticality"}, "only the benchmark's own networks have"),
        ({"ignore": ["9"]}, "ignore names '9'"),
        ({"ignore": ["0", "2"]}, "all layers are readouts or ignored"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        start(**change)


def test_ignored_layers_are_neither_pruned_nor_counted() -> None:
    network, optimizer, handle = start(ignore=["0"])
    go(network, optimizer, handle, 0, 12)
    assert [layer.name for layer in handle.structure.layers] == ["2"]
    assert handle.structure.prunable == 24 * 24
    assert handle.density == pytest.approx(0.4, abs=0.03)
    handle.compact()
    assert network[0].weight.shape == (24, 10)
    assert network[2].weight.shape[0] == handle.widths["2"]


@pytest.mark.parametrize("method", ["dpap", "magnitude", "snip"])
def test_a_density_for_each_layer(method: str) -> None:
    granularity = build_method(method, {}).info.granularities[0]
    structured = granularity == "structured"
    network, optimizer, handle = start(
        method, density={"0": 0.75, "2": 0.25}, granularity=granularity, options={}
    )
    go(network, optimizer, handle, 0, 12)
    for path, density in (("0", 0.75), ("2", 0.25)):
        weight = network[int(path)].weight.detach()
        kept = weight.any(1) if structured else weight != 0
        assert float(kept.float().mean()) == pytest.approx(density, abs=0.05)
    x, _ = batch(20)
    wanted = network(x)
    handle.compact()
    torch.testing.assert_close(network(x), wanted)


def test_layers_without_a_density_are_kept_and_runs_with_densities_are_resumed() -> None:
    given = {"density": {"2": 0.5}}
    network, optimizer, handle = start("dpap", **given)
    go(network, optimizer, handle, 0, 12)
    assert handle.widths == {"0": 24, "2": 12}
    again, second, handle2 = start("dpap", **given)
    go(again, second, handle2, 0, 7)
    states = saved([again.state_dict(), second.state_dict(), handle2.state_dict()])
    again, second, handle2 = start("dpap", **given)
    for part, state in zip((again, second, handle2), states, strict=True):
        part.load_state_dict(state)
    go(again, second, handle2, 7, 12)
    for one, two in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(ValueError, match="a density for each layer"):
        start("dpap")[2].load_state_dict(handle.state_dict())
    with pytest.raises(ValueError, match="other densities"):
        handle.load_state_dict(start("dpap")[2].state_dict())


@pytest.mark.parametrize(
    ("density", "message"),
    [
        ({"0": 0.5, "7": 0.5}, "density names '7'"),
        ({"0": 1.5}, "density of '0' must be in"),
        ({"0": 1.0}, "density prunes no layer"),
    ],
)
def test_wrong_densities_of_layers_are_refused(density: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        start(density=density)


def test_layers_that_share_units_have_one_density() -> None:
    given = {"example": {"left": torch.randn(2, 10), "right": torch.randn(2, 4)}, "readout": "fc"}
    with pytest.raises(ValueError, match="'left' and 'right' share their units"):
        attach(Inputs(), "magnitude", density={"left": 0.5, "right": 0.25}, **given)  # type: ignore[arg-type]


def test_a_second_attachment_needs_the_first_one_to_end() -> None:
    network, _, handle = start()
    with pytest.raises(ValueError, match="is attached already"):
        attach(network, DPAP(), example=batch(0)[0], readout="4")
    handle.detach()
    attach(network, DPAP(), example=batch(0)[0], readout="4")


def test_compaction_after_detach() -> None:
    network, optimizer, handle = start()
    go(network, optimizer, handle, 0, 12)
    x, _ = batch(20)
    wanted = network(x)
    handle.detach()
    trained = copy.deepcopy(network)
    handle.compact()
    torch.testing.assert_close(network(x), wanted)
    assert len(network[0].weight) == handle.widths["0"] < 24
    with pytest.raises(RuntimeError, match="attach to the network again"):
        handle.load_state_dict(handle.state_dict())
    network, optimizer, handle = start()
    go(network, optimizer, handle, 0, 12)
    handle.detach()
    with torch.no_grad():
        network[2].weight.add_(0.1)
    with pytest.raises(ValueError, match="trained after detach"):
        handle.compact()
    assert trained[0].weight.shape == network[0].weight.shape


def test_progress_does_not_go_back_and_folded_time_needs_its_steps() -> None:
    network, optimizer, handle = start()
    go(network, optimizer, handle, 0, 3)
    network(batch(3)[0])
    with pytest.raises(ValueError, match="must not go back"):
        handle.update(0.1, optimizer)
    with pytest.raises(ValueError, match="folded=True needs steps="):
        start(folded=True)
    with pytest.raises(ValueError, match=r"layer '0' has shape \(16, 24\): with folded=True"):
        start(folded=True, steps=3)


def test_infinite_gradients_of_mixed_precision_are_not_read() -> None:
    network, _, handle = start("taylor")
    x, y = batch(0)
    functional.cross_entropy(network(x), y).backward()
    handle.update(0.05)
    before = handle.state_dict()
    network.zero_grad()
    (functional.cross_entropy(network(x), y) * float("inf")).backward()
    handle.update(0.06)
    after = handle.state_dict()
    assert repr(after["pruner"]) == repr(before["pruner"])


@pytest.mark.parametrize("kind", [torch.optim.Adafactor, torch.optim.LBFGS])
def test_an_optimizer_whose_state_cannot_be_cut_starts_again(kind: Any) -> None:
    network, _, handle = start()
    optimizer = kind(network.parameters(), lr=0.01)

    def closure(i: int) -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(batch(i)[0]), batch(i)[1])
        loss.backward()
        return loss

    for i in range(12):
        optimizer.step(lambda i=i: closure(i))
        handle.update((i + 1) / 12, optimizer)
    handle.compact(optimizer)
    optimizer.step(lambda: closure(0))
    assert all(bool(p.isfinite().all()) for p in network.parameters())
