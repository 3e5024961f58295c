"""The scan equals stepping snntorch.Leaky: outputs, input gradients and beta's gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipelines.kernels import scan
from pipelines.kernels.scan import lif_scan, make_neuron

pytestmark = pytest.mark.usefixtures("snntorch_in_float64")

RESETS = ("zero", "subtract")
SURROGATES = ("atan", "fast_sigmoid")


def by_steps(current: Tensor, neuron: torch.nn.Module, steps: int) -> Tensor:
    membrane = torch.zeros_like(current[0])
    spikes = []
    for t in range(steps):
        spike, membrane = neuron(current[t if len(current) > 1 else 0], membrane)
        spikes.append(spike)
    return torch.stack(spikes)


def compare(current: Tensor, steps: int, reset: str, surrogate: str, beta: float) -> None:
    results = []
    for at_once in (True, False):
        neuron = make_neuron(beta, True, 1.0, reset, surrogate).double()
        x = current.clone().requires_grad_()
        spikes = lif_scan(x, neuron, steps, surrogate) if at_once else by_steps(x, neuron, steps)
        weight = torch.linspace(-1, 2, spikes.numel(), dtype=torch.double).view_as(spikes)
        (spikes * weight).sum().backward()
        results.append((spikes.detach(), x.grad, neuron.beta.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert 0 < results[0][0].mean() < 1, "the test needs spikes and silence"


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 3, 3)])
def test_scan_equals_stepping(reset: str, surrogate: str, steps: int, shape: tuple[int]) -> None:
    torch.manual_seed(steps)
    current = 2 * torch.randn(steps, *shape, dtype=torch.double)
    compare(current, steps, reset, surrogate, beta=0.7)


@pytest.mark.parametrize("reset", RESETS)
def test_static_input_equals_its_repetition(reset: str) -> None:
    torch.manual_seed(0)
    current = 2 * torch.rand(1, 3, 6, dtype=torch.double)
    compare(current, 5, reset, "atan", beta=0.9)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 2, 3), (0, 1, 3, 2)], ids=str)
def test_blocks_and_borrowed_memory(
    monkeypatch: pytest.MonkeyPatch, reset: str, order: tuple[int, ...]
) -> None:
    """A few elements at a time, in the input's own memory, in whatever order that is."""
    monkeypatch.setattr(scan, "BLOCK", 20)
    torch.manual_seed(0)
    memory = 2 * torch.randn(4, 4, 3, 3, dtype=torch.double)
    results = []
    for overwrite in (False, True):
        neuron = make_neuron(0.7, True, 1.0, reset, "atan").double()
        leaf = memory.clone().requires_grad_()
        current = (1.0 * leaf).permute(order)
        spikes = lif_scan(current, neuron, 4, "atan", overwrite=overwrite)
        spikes.cumsum(1).sum().backward()
        results.append((spikes.detach(), leaf.grad, neuron.beta.grad))
    whole = make_neuron(0.7, True, 1.0, reset, "atan").double()
    results.append((by_steps(memory.permute(order), whole, 4).detach(), *results[0][1:]))
    for one, *others in zip(*results, strict=True):
        for other in others:
            torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-12)


def test_a_second_backward_pass_is_refused() -> None:
    """The first one left gradients where potentials were."""
    neuron = make_neuron(0.7, True, 1.0, "zero", "atan").double()
    current = torch.ones(3, 2, 2, dtype=torch.double, requires_grad=True)
    loss = lif_scan(current, neuron, 3, "atan").sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_the_gradient_of_half_precision_is_computed_in_float32() -> None:
    torch.manual_seed(0)
    grads = []
    half = torch.randn(4, 3, 50).bfloat16()
    for current in (half, half.float()):
        neuron = make_neuron(0.7, True, 1.0, "zero", "atan").float()
        leaf = current.clone().requires_grad_()
        lif_scan(leaf, neuron, 4, "atan").sum().backward()
        grads.append(leaf.grad)
    assert torch.equal(grads[0], grads[1].bfloat16()), "rounded once, at the end"


@pytest.mark.parametrize("beta", [-0.5, 0.0, 1.0, 1.5])
def test_beta_is_clamped_with_its_gradient(beta: float) -> None:
    torch.manual_seed(1)
    compare(torch.randn(4, 3, 6, dtype=torch.double), 4, "zero", "atan", beta)


def test_membrane_at_zero_still_passes_gradient() -> None:
    current = torch.zeros(3, 1, 1, dtype=torch.double)
    current[2] = 1.5
    compare(current, 3, "zero", "atan", beta=0.5)


def test_by_hand() -> None:
    # beta 0.5, threshold 1, hard reset: 0.8, 0.5*0.8+0.8=1.2 fires, reset: 0.8, 1.2 fires.
    neuron = make_neuron(0.5, False, 1.0, "zero", "atan")
    spikes = lif_scan(torch.full((4, 1, 1), 0.8, dtype=torch.double), neuron, 4, "atan")
    assert spikes.flatten().tolist() == [0, 1, 0, 1]
    # Subtraction leaves 0.5*1.2 - 1 + 0.8 = 0.4, then 1.0, which is not above 1.
    neuron = make_neuron(0.5, False, 1.0, "subtract", "atan")
    spikes = lif_scan(torch.full((4, 1, 1), 0.8, dtype=torch.double), neuron, 4, "atan")
    assert spikes.flatten().tolist() == [0, 1, 0, 0]


def test_layout_is_kept() -> None:
    current = torch.randn(2, 3, 4, 5, 5).flatten(0, 1).to(memory_format=torch.channels_last)
    neuron = make_neuron(0.5, False, 1.0, "zero", "atan")
    spikes = lif_scan(current.unflatten(0, (2, 3)), neuron, 2, "atan")
    assert spikes.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_wrong_number_of_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="3 steps, not 4"):
        lif_scan(torch.zeros(3, 1, 1), make_neuron(0.5, False, 1.0, "zero", "atan"), 4, "atan")
