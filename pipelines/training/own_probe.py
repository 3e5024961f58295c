"""The probe of a network that a factory builds: saliency passes on copies of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import cast

from torch import Tensor, nn
from torch.func import functional_call

from dpap.attachment.copies import copy_of
from dpap.attachment.probe import LoopProbe
from pipelines.networks.own import OwnNetwork
from pipelines.training.guard import paid
from pipelines.training.loss import loss_of
from pipelines.training.probe import NetworkProbe


class OwnProbe(NetworkProbe):
    """As `NetworkProbe`; the neurons must allow the derivatives that a method needs."""

    def example(self) -> Tensor:
        """Zeros in the shape of one sample."""
        network = cast(OwnNetwork, self.network)
        steps = (network.steps,) if network.timed else ()
        shape = (*steps, 1, *network.input_shape)
        return next(network.parameters()).new_zeros(shape)

    def linear(self, inputs: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Scores of the network without neurons and batch norm."""
        with paid():
            return self._loop.linear(_samples_first(inputs), parameters)

    @cached_property
    def _loop(self) -> LoopProbe:
        def losses(scores: Tensor, labels: Tensor) -> Tensor:
            return loss_of(self.kind, scores, labels, "none")

        return LoopProbe(self.network, None, _scores, losses, _samples_first(self.example()), "")

    def _pass(
        self, inputs: Tensor, parameters: Mapping[str, Tensor] | None, *, linear: bool = False
    ) -> Tensor:
        del linear
        shadow = copy_of(self.network).train()
        for module in shadow.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        borrowed = dict(self.network.named_parameters()) | dict(parameters or {})
        with paid():
            return cast(Tensor, functional_call(shadow, borrowed, (inputs,)))

    def _per_example(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
        with paid():
            yield from self._loop.per_example(_samples_first(inputs), labels)


def _samples_first(inputs: Tensor) -> Tensor:
    """Swap time and samples: `LoopProbe` cuts samples along the first axis."""
    return inputs.transpose(0, 1) if inputs.dim() == 5 else inputs


def _scores(network: nn.Module, inputs: Tensor) -> Tensor:
    return cast(Tensor, network(_samples_first(inputs)))
