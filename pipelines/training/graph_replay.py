"""Training steps as CUDA graphs: one call starts hundreds of kernels.

A step of a small network on a GPU takes as long as the CPU needs to start its kernels. Once a
network has seen some batches of one shape, its forward and backward pass are recorded, and replayed
from then on. The kernels and their order are the same, and so are the results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.shared.activity import Recorded, Unwritten
from pipelines.networks.network import Network
from pipelines.settings.workload import Loss
from pipelines.training.loss import loss_of

#: Steps with the same shape that are computed before one is recorded: kernels are compiled then.
WARM = 3

Forward = tuple[Tensor, Mapping[str, Recorded]]


class ForwardPass:
    """Loss and activity of a batch; on a GPU, recorded passes are replayed.

    Passes can be recorded only while no loss of an earlier step is kept, because its graph holds
    the parameters. Otherwise, and if memory does not suffice, all steps are computed.

    Parameters
    ----------
    loss
        The recipe's.
    enabled
        Whether steps are replayed; on a CPU they never are.
    """

    def __init__(self, loss: Loss, *, enabled: bool = True) -> None:
        self.loss = loss
        self.enabled = enabled
        self.network: Network | None = None
        self.shape: torch.Size | None = None
        self.seen = 0
        self.recorded: _Recorded | None = None

    def __call__(self, network: Network, inputs: Tensor, labels: Tensor) -> Forward:
        """Mean loss of a batch, to call ``backward()`` of, and the activity of every layer."""
        if not self._replayed(network, inputs, labels):
            scores, activity = network.record(inputs)
            return loss_of(self.loss, scores, labels), _detached(activity)
        assert self.recorded is not None
        return self.recorded.replay(inputs, labels)

    def _replayed(self, network: Network, inputs: Tensor, labels: Tensor) -> bool:
        """Whether this batch can be replayed; record the passes if it is time to."""
        possible = self.enabled and inputs.is_cuda and network.training and not network.gates
        if not possible or not network.replayable:
            return False
        if network is not self.network:
            self.network, self.shape, self.recorded = network, None, None
        if self.recorded is not None:
            return self.recorded.fits(inputs)
        self.seen = self.seen + 1 if inputs.shape == self.shape else 1
        self.shape = inputs.shape
        if self.seen <= WARM:
            return False
        try:
            self.recorded = _Recorded(network, inputs, labels, self.loss)
        except RuntimeError:  # something waits for the device, or there is no memory for it
            self.enabled = False
            _end_recording(inputs.device)
        return self.enabled


class _Recorded:
    """Both passes of one network for batches of one shape."""

    def __init__(self, network: Network, inputs: Tensor, labels: Tensor, loss: Loss) -> None:
        self.inputs, self.labels = inputs.clone(), labels.clone()
        self.ahead, self.back = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        parameters = list(network.parameters())
        network.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.ahead):
            scores, activity = network.record(self.inputs)
            result = loss_of(loss, scores, self.labels)
        with torch.cuda.graph(self.back, pool=self.ahead.pool()):
            result.backward()
        self.gradients = [(p, p.grad) for p in parameters if p.grad is not None]
        network.zero_grad(set_to_none=True)
        self.loss, self.activity = result.detach(), _detached(activity)
        self.handle = torch.zeros((), device=inputs.device, requires_grad=True)

    def fits(self, inputs: Tensor) -> bool:
        """Whether such inputs can be replayed."""
        return inputs.shape == self.inputs.shape and inputs.dtype == self.inputs.dtype

    def replay(self, inputs: Tensor, labels: Tensor) -> Forward:
        """Run the forward pass; ``backward()`` of the loss will run the other."""
        self.inputs.copy_(inputs)
        self.labels.copy_(labels)
        self.ahead.replay()
        loss: Tensor = _Loss.apply(self.handle, self)  # type: ignore[no-untyped-call]
        return loss, {n: (_own(a), _own(b)) for n, (a, b) in self.activity.items()}


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, handle: Tensor, recorded: _Recorded) -> Tensor:
        del handle
        ctx.recorded = recorded
        return recorded.loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None]:
        """Set the gradients, or add them to those that a penalty has left; `grad` is 1."""
        del grad
        ctx.recorded.back.replay()
        for parameter, gradient in ctx.recorded.gradients:
            found = parameter.grad
            parameter.grad = gradient if found is None else gradient + found
        return None, None


def _end_recording(device: torch.device) -> None:
    """Let random numbers be drawn again; a failed recording leaves them to be recorded for good."""
    generator = torch.cuda.default_generators[device.index or 0]
    generator.graphsafe_set_state(generator.clone_state())


def _detached(activity: Mapping[str, Recorded]) -> Mapping[str, Recorded]:
    """Activity that keeps no graph alive: recording needs the parameters for itself."""
    return {
        name: (received.detach(), sent if isinstance(sent, Unwritten) else sent.detach())
        for name, (received, sent) in activity.items()
    }


def _own(given: Tensor | Unwritten) -> Any:
    """What a method may keep is copied: the next replay writes over it. Maps nobody keeps."""
    if isinstance(given, Unwritten):
        return Unwritten(given.sums.clone(), given.maps)
    return given.clone() if given.dim() == 3 else given
