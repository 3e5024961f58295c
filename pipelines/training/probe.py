"""The probe: saliency passes on a shadow network that borrows the network's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from pipelines.data.splits import Samples, batch_sizes
from pipelines.networks.network import Network
from pipelines.networks.plans.folded import Folded
from pipelines.networks.stages import Stage
from pipelines.settings.workload import Loss
from pipelines.training.budget import BudgetMeter
from pipelines.training.loss import Reduction, loss_of


class _Stepped(Folded):
    """The plan ``folded`` with neurons that can be differentiated twice."""

    def fire(self, stage: Stage, current: Tensor) -> Tensor:
        return self.neurons.by_steps(stage.neuron, current)


class _Shadow(Network):
    """A copy of the network that the probe calls with the network's own parameters."""

    def forward(self, inputs: Tensor, linear: bool = False) -> Tensor:
        """Class scores; with `linear`, those of a network of weights and pooling only."""
        if not linear:
            return super().forward(inputs)
        x = carried = inputs
        for stage in self.stages:
            x = stage.weights(x.flatten(1) if isinstance(stage.weights, nn.Linear) else x)
            if stage.shortcut:
                x = x + (stage.shortcut.weights or nn.Identity())(carried)
            x = stage.pool(x)
            carried = x if stage.carries else carried
        return cast(Tensor, self.readout(x.flatten(1)))


class NetworkProbe:
    """See `baselines.shared.contract.Probe`.

    Parameters
    ----------
    network
        The dense network.
    train
        The training split.
    batch_size
        The recipe's.
    meter
        Charged before samples are used.
    generator
        Draws the samples, which are never augmented.
    kind
        The recipe's loss.
    """

    def __init__(
        self,
        network: Network,
        train: Samples,
        batch_size: int,
        meter: BudgetMeter,
        generator: torch.Generator,
        kind: Loss = "cross-entropy",
    ) -> None:
        self.network = network
        self._train = train  # a method gets its samples by `batches`, which charges them
        self.batch_size = batch_size
        self.meter = meter
        self.generator = generator
        self.kind = kind
        self._paid: dict[int, Tensor] = {}  # labels of batches that have not passed yet, by id

    @property
    def paid(self) -> list[Tensor]:
        """Labels of the batches that were drawn and have not passed yet."""
        return list(self._paid.values())

    @paid.setter
    def paid(self, labels: list[Tensor]) -> None:
        self._paid = {id(each): each for each in labels}

    def batches(self, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw and charge training samples."""
        self.meter.charge(samples, "saliency")
        return self._draw(samples)

    def loss(
        self,
        inputs: Tensor,
        labels: Tensor,
        *,
        reduction: Reduction = "mean",
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The workload's loss of a batch."""
        self._pay(labels)
        return loss_of(self.kind, self._pass(inputs, parameters), labels, reduction)

    def per_example(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Gradients of each sample's own loss, layer by layer."""
        self._pay(labels)
        return self._per_example(inputs, labels)

    def linear(self, inputs: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Scores of the network without neurons and batch norm."""
        return self._pass(inputs, parameters, linear=True)

    def example(self) -> Tensor:
        """Zeros in the shape of one sample."""
        return next(self.network.parameters()).new_zeros(1, *self.network.input_shape)

    @cached_property
    def _shadow(self) -> _Shadow:
        network = self.network
        with torch.random.fork_rng(devices=[]):
            shadow = _Shadow(network.spec, network.input_shape, network.classes)
        shadow.use(_Stepped(network.spec))
        reference = next(network.parameters())
        return shadow.to(device=reference.device, dtype=reference.dtype)

    def _draw(self, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
        rounds = range(-(-samples // len(self._train)))
        orders = [torch.randperm(len(self._train), generator=self.generator) for _ in rounds]
        order = torch.cat([torch.empty(0, dtype=torch.long), *orders])[:samples]
        order = order.to(self._train.device)
        for batch in order.split(batch_sizes(samples, self.batch_size)):
            inputs, labels = self._train.batch(batch)
            self._paid[id(labels)] = labels
            yield inputs, labels

    def _pay(self, labels: Tensor) -> None:
        """Charge a batch, unless it was charged when it was drawn and has not passed since."""
        if self._paid.pop(id(labels), None) is None:
            self.meter.charge(len(labels), "saliency")

    def _pass(
        self, inputs: Tensor, parameters: Mapping[str, Tensor] | None, *, linear: bool = False
    ) -> Tensor:
        self._shadow.silence(self.network.gates)
        borrowed = dict(self.network.named_parameters()) | dict(parameters or {})
        return cast(Tensor, functional_call(self._shadow, borrowed, (inputs, linear)))

    def _per_example(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
        layers: dict[str, nn.Module] = {}
        seen: dict[str, tuple[Tensor, Tensor]] = {}
        handles: list[RemovableHandle] = []
        for name, module in self._shadow.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                handles.append(module.register_forward_pre_hook(_hold_statistics))
            elif isinstance(module, nn.Conv2d | nn.Linear):
                layers[name] = module
                handles.append(
                    module.register_forward_hook(
                        lambda _, x, y, name=name: seen.update({name: (x[0], y)})
                    )
                )
        self._shadow.eval()
        try:
            loss = loss_of(self.kind, self._pass(inputs, None), labels, "sum")
        finally:
            self._shadow.train()
            for handle in handles:
                handle.remove()
        gradients = torch.autograd.grad(loss, [y for _, y in seen.values()])
        for (name, (x, _)), gradient in zip(seen.items(), gradients, strict=True):
            yield name, _weight_gradients(layers[name], x.detach(), gradient, len(labels))


def _hold_statistics(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Let batch norm in evaluation mode use the statistics of this batch, as constants."""
    x = inputs[0].detach()
    dims = [d for d in range(x.dim()) if d != 1]
    norm.running_mean, norm.running_var = x.mean(dims), x.var(dims, correction=0)


def _weight_gradients(layer: nn.Module, x: Tensor, gradient: Tensor, samples: int) -> Tensor:
    """Gradients [B, *weight shape] from a layer's inputs and output gradients, [T * B, ...]."""
    if isinstance(layer, nn.Conv2d):
        padding = cast(tuple[int, int], layer.padding)
        x = functional.unfold(x, layer.kernel_size, layer.dilation, padding, layer.stride)
        gradient = gradient.flatten(2)
    else:
        x, gradient = x.unsqueeze(2), gradient.unsqueeze(2)
    x, gradient = (v.unflatten(0, (-1, samples)) for v in (x, gradient))  # [T, B, units, places]
    total = torch.einsum("tbop,tbip->boi", gradient, x)
    return total.reshape(samples, *cast(Tensor, layer.weight).shape)
