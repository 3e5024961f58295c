"""Saliency passes on a network of any kind, for methods that need training samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils._pytree import tree_map

from dpap.attachment.copies import at_rest, copy_of
from dpap.emitters import NEURONS, first_tensor

Batches = Iterable[tuple[Any, Tensor]]
#: Batches of training samples, or a function that returns them.
Saliency = Batches | Callable[[], Batches]
Scores = Callable[[nn.Module, Any], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


def default_scores(forward: Callable[[nn.Module, Any], Any], passes: int) -> Scores:
    """Class scores of a batch: from rest, the sum of the first output over all forward passes."""

    def scores(network: nn.Module, inputs: Any) -> Tensor:
        at_rest(network)
        outputs = [first_tensor(forward(network, inputs)) for _ in range(max(1, passes))]
        return outputs[0] if len(outputs) == 1 else torch.stack(outputs).sum(0)

    return scores


def part_of(inputs: Any, samples: slice, device: torch.device | None = None) -> Any:
    """Some samples of a batch: of a tensor, or of each tensor in a tuple, list or dict."""

    def cut(x: object) -> object:
        return x[samples].to(device or x.device) if isinstance(x, Tensor) and x.dim() else x

    return tree_map(cut, inputs)


class _Call(nn.Module):
    """Module that calls a function of a network; ``functional_call`` needs a module."""

    def __init__(self, network: nn.Module, function: Scores) -> None:
        super().__init__()
        self.network = network
        self.function = function

    def forward(self, inputs: Any) -> Tensor:
        return self.function(self.network, inputs)


class LoopProbe:
    """See `baselines.shared.contract.Probe`; passes run on a copy that borrows the parameters.

    Parameters
    ----------
    network
        The network.
    saliency
        Batches of training samples; None if the user gave none.
    scores
        Class scores of a batch, [B, classes].
    loss
        Loss of each sample, [B], from scores and labels; None: cross-entropy.
    example
        One input of the network.
    method
        Name of the method, for messages.
    """

    def __init__(
        self,
        network: nn.Module,
        saliency: Saliency | None,
        scores: Scores,
        loss: Loss | None,
        example: Any,
        method: str,
    ) -> None:
        self.network = network
        self.saliency = saliency
        self.scores = scores
        self.losses = loss
        self.given = example
        self.method = method

    def batches(self, samples: int) -> Iterator[tuple[Any, Tensor]]:
        """Draw samples from the user's batches, again from the start when they end."""
        if self.saliency is None:
            raise ValueError(
                f"method '{self.method}' needs training samples: give attach() saliency=, a loader "
                "of batches (inputs, labels)"
            )
        return self._draw(samples)

    def _draw(self, samples: int) -> Iterator[tuple[Any, Tensor]]:
        assert self.saliency is not None
        device = next(self.network.parameters()).device
        while samples > 0:
            before = samples
            for inputs, labels in self.saliency() if callable(self.saliency) else self.saliency:
                part = slice(samples)
                yield part_of(inputs, part, device), labels[part].to(device)
                samples -= len(labels)
                if samples <= 0:
                    return
            if samples == before:
                raise ValueError("saliency has no batches: give a loader, not an iterator")

    def loss(
        self,
        inputs: Tensor,
        labels: Tensor,
        *,
        reduction: Literal["mean", "sum", "none"] = "mean",
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Loss of a batch, with its autograd graph."""
        losses = self._losses(self._pass(inputs, parameters), labels)
        if reduction == "none":
            return losses
        return losses.mean() if reduction == "mean" else losses.sum()

    def per_example(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Gradients of each sample's own loss, one layer after another."""
        shadow = self._shadow()
        kinds = nn.modules.batchnorm._BatchNorm
        norms = [module for module in shadow.modules() if isinstance(module, kinds)]
        hooks = [norm.register_forward_pre_hook(_hold_statistics) for norm in norms]
        with torch.no_grad():
            self.scores(shadow, inputs)
        for hook in hooks:
            hook.remove()
        shadow.eval()
        weights = {
            f"{name}.weight": self.network.get_parameter(f"{name}.weight")
            for name, module in self.network.named_modules()
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
        }
        rows = []
        for i in range(len(labels)):
            score = self._pass(part_of(inputs, slice(i, i + 1)), None, shadow)
            loss = self._losses(score, labels[i : i + 1]).sum()
            found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            rows.append(
                [
                    torch.zeros_like(w) if g is None else g
                    for g, w in zip(found, weights.values(), strict=True)
                ]
            )
        for name, parts in zip(weights, zip(*rows, strict=True), strict=True):
            yield name.removesuffix(".weight"), torch.stack(parts)

    def linear(self, inputs: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Class scores of the network without neurons and batch norm."""
        shadow = self._shadow().to(inputs.dtype)
        for module in shadow.modules():
            if isinstance(module, (*NEURONS, nn.modules.batchnorm._BatchNorm, nn.Dropout)):
                module.eval().register_forward_hook(_pass_on)
        return self._pass(inputs, parameters, shadow)

    def example(self) -> Tensor:
        """Zeros in the shape of one sample."""
        if not isinstance(self.given, Tensor):
            raise ValueError(f"method '{self.method}' needs a network with one input")
        return torch.zeros_like(self.given[:1])

    def _losses(self, scores: Tensor, labels: Tensor) -> Tensor:
        if self.losses is not None:
            return self.losses(scores, labels)
        return functional.cross_entropy(scores, labels, reduction="none")

    def _shadow(self) -> nn.Module:
        shadow = copy_of(self.network).train()
        for module in shadow.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        return shadow

    def _pass(
        self, inputs: Any, parameters: Mapping[str, Tensor] | None, shadow: nn.Module | None = None
    ) -> Tensor:
        call = _Call(shadow or self._shadow(), self.scores)
        borrowed = dict(self.network.named_parameters()) | dict(parameters or {})
        named = {f"network.{name}": value for name, value in borrowed.items()}
        result: Tensor = functional_call(call, named, (inputs,))
        return result


def _hold_statistics(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Let batch norm in evaluation mode use the statistics of this batch, as constants."""
    x = inputs[0].detach()
    dims = [d for d in range(x.dim()) if d != 1]
    norm.running_mean, norm.running_var = x.mean(dims), x.var(dims, correction=0)


def _pass_on(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
    """Forward hook that lets a module return its input."""
    if isinstance(output, tuple):
        return (arguments[0], *output[1:])
    return arguments[0]
