"""Networks built from a `NetworkSpec`, spiking or artificial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import cast

import snntorch as snn
import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity, Pair, Recorded, Unwritten
from pipelines.kernels import bfloat16 as half
from pipelines.kernels import linear
from pipelines.kernels.cpu import grey_convolution as one_channel
from pipelines.kernels.cpu import norm_scan as fused
from pipelines.kernels.cpu import spike_convolution
from pipelines.kernels.cpu.pooling import pooled, side_by_side
from pipelines.kernels.gpu import norm_scan as triton_norm
from pipelines.kernels.gpu import scan as triton_scan
from pipelines.kernels.scan import lif_scan
from pipelines.kernels.seam import Prepared
from pipelines.networks.stages import Stage, build_stages
from pipelines.networks.stepping import all_steps, one_step
from pipelines.settings.layout import with_widths
from pipelines.settings.network import READOUT, Execution, NetworkSpec


class Network(nn.Module):
    """A stack of weights - batch norm - neuron - pooling, and a linear readout.

    ``forward`` runs layer by layer with time folded into the batch. Batch norm is pooled over
    time and batch, which in training is another function than batch norm per step; both agree
    in evaluation. The readout sees the mean of its input over time.

    In a residual block the currents before the neurons are added, the membrane shortcut of
    MS-ResNet (Hu et al., arXiv 2112.08954): y = norm(conv(s)) + shortcut, and neurons fire on y.
    An identity shortcut carries the y of the layer before the block, pooled as its spikes are. A
    projection reads the block's input spikes, where MS-ResNet projects y: so every convolution
    gets spikes and costs accumulates. Artificial networks have the post-activation form of He et
    al. (arXiv 1512.03385): relu(norm(conv(x)) + shortcut(x)), x being the block's input.

    Parameters
    ----------
    spec
        What to build.
    input_shape
        Of one sample at one step: [channels, height, width].
    classes
        Number of outputs.
    execution
        How it is computed.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        input_shape: tuple[int, int, int],
        classes: int,
        execution: Execution = Execution(),  # noqa: B008 -- frozen
    ) -> None:
        super().__init__()
        self.spec = spec
        self.execution = execution
        self.input_shape = input_shape
        self.classes = classes
        self.gates: dict[str, Tensor] = {}
        self.stages, features = build_stages(spec, input_shape)
        for stage in self.stages:
            for name, module in stage.modules():
                self.add_module(name, module)
        self.readout = nn.Linear(features, classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def steps(self) -> int:
        """Time steps of one sample."""
        return self.spec.time_steps if self.spec.kind == "snn" else 1

    @property
    def is_fused(self) -> bool:
        """Whether compiled functions may do what they do sooner."""
        return self.execution.plan == "fused"

    @property
    def layout(self) -> str:
        """The layout with the widths that the network has now."""
        widths = [stage.weights.weight.shape[0] for stage in self.stages]
        return with_widths(self.spec.layout, widths)

    def narrowed(self, widths: Sequence[int]) -> Network:
        """Build the same network with other widths, of `stages`; no random number is drawn."""
        with torch.random.fork_rng(devices=[]):
            spec = self.spec.with_widths(widths)
            small = Network(spec, self.input_shape, self.classes, self.execution)
        reference = next(self.parameters())
        return small.to(device=reference.device, dtype=reference.dtype)

    def silence(self, steps: Mapping[str, Tensor]) -> None:
        """Withhold the spikes of some units at some steps: layer -> kept, bool [units, T].

        A silenced unit still integrates and resets as if it had fired; nobody receives the spike.
        """
        device = self.readout.weight.device
        self.gates = {name: kept.to(device) for name, kept in steps.items()}

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores [B, classes] of inputs [B, C, H, W] (static) or [T, B, C, H, W]."""
        return self.record(inputs)[0]

    def run(self, inputs: Tensor) -> tuple[Tensor, dict[str, Pair]]:
        """Class scores, and the activity of every layer: name -> (input, output), [T, B, ...].

        The readout's pair is (its input, its scores as one step). A static input keeps T = 1.
        """
        scores, activity = self.record(inputs)
        return scores, dict(Activity(activity))

    def record(self, inputs: Tensor) -> tuple[Tensor, dict[str, Recorded]]:
        """Class scores, and activity in which some maps may be `Unwritten`; quicker than `run`."""
        x = inputs.unsqueeze(0) if inputs.dim() == 4 else inputs
        with half.bfloat16(x.device, enabled=self.execution.precision == "bfloat16"):
            if self.execution.plan == "step":
                features, activity = all_steps(self.stages, x, self.steps, self.gates)
            else:
                features, activity = self._folded(x)
            scores: Tensor = self.readout(features.mean(0))
        scores = scores.to(self.readout.weight.dtype)
        activity[READOUT] = (features, scores.unsqueeze(0))
        return scores, activity

    def neuron_currents(self, normed: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
        """What drives the neurons of each layer of a spiking network, shortcuts added.

        Parameters
        ----------
        normed
            Layer -> what its batch norm gives, [T, B, ...]; projection shortcuts are layers too.
        """
        carried = torch.zeros(())
        for stage in self.stages:
            current = normed(stage.name)
            if stage.shortcut:
                name = stage.shortcut.name
                current = current + (normed(name) if name else carried)
            yield stage.name, current
            if stage.carries == "current":
                carried = self._pooled(stage, current)

    def _folded(self, x: Tensor) -> tuple[Tensor, dict[str, Recorded]]:
        """Layer by layer, time folded into the batch: the readout's input, and all pairs."""
        activity: dict[str, Recorded] = {}
        carried = x  # what the next shortcut is given
        sent: Tensor | Unwritten
        for stage in self.stages:
            received, prepared = self._prepare(stage.weights, x)
            if stage.joined:
                current = _over_time(stage.norm, self._weigh(stage.weights, received, prepared))
                if stage.shortcut:
                    current = current + _over_time(stage.shortcut, carried)
                x, sent = self._send(stage, current)
            else:
                x, sent = self._emit(stage, received, prepared)
            activity[stage.name] = (received, sent)
            if stage.shortcut and stage.shortcut.name:
                activity[stage.shortcut.name] = (carried, sent)
            if stage.carries:
                carried = x if stage.carries == "output" else self._pooled(stage, current)
        return linear.flatten_maps(x), activity

    def _prepare(self, weights: nn.Module, x: Tensor) -> tuple[Tensor, Prepared | None]:
        """What a layer receives, [T, B, ...], and what applies its weights sooner, if anything."""
        if isinstance(weights, nn.Linear):
            prepared = linear.prepare(weights, x) if self.is_fused else None
            return prepared.lists[0] if prepared else linear.flatten_maps(x), prepared
        prepared = None
        if self.is_fused and isinstance(weights, nn.Conv2d):
            prepared = one_channel.prepare(weights, x)
            if prepared is None and self.spec.kind == "snn":
                prepared = spike_convolution.prepare(weights, x)
        return x, prepared

    def _weigh(self, weights: nn.Module, x: Tensor, prepared: Prepared | None) -> Tensor:
        """What a layer gives, [T, B, ...]; a convolution may be one of grey images."""
        if prepared is not None:
            return prepared()
        if isinstance(weights, nn.Conv2d) and one_channel.suits(weights, x):
            return _over_time(partial(one_channel.convolve, weights), x)
        return _over_time(weights, x)

    def _emit(
        self, stage: Stage, x: Tensor, prepared: Prepared | None
    ) -> tuple[Tensor, Tensor | Unwritten]:
        """Weights, batch norm, neurons and pooling, [T, B, ...]; also what was pooled."""
        norm, neuron = cast(fused.Norm, stage.norm), stage.neuron
        leaky = isinstance(neuron, snn.Leaky)
        if prepared and leaky and fused.available(prepared.x):
            emit = partial(fused.norm_and_scan, prepared, norm)
        else:
            x = self._weigh(stage.weights, x, prepared)
            norm_and_scan = self._norm_and_scan(x) if leaky else None
            if norm_and_scan is None:
                return self._send(stage, _over_time(norm, x))
            emit = partial(norm_and_scan, x, norm)
        window = self._window(stage, x)  # a convolution that is prepared keeps the map's size
        y, sent = emit(neuron, self.steps, self.spec.surrogate, window)
        if window > 1:
            return y, sent
        y = self._gated(stage.name, y)
        return self._pooled(stage, y), y

    def _norm_and_scan(self, y: Tensor) -> fused.NormAndScan | None:
        """Batch norm, neurons and pooling in one function, where there is one for such maps."""
        if self.is_fused and fused.available(y):
            return fused.norm_and_scan
        if self.is_fused and triton_scan.available(y, self.steps):
            return triton_norm.norm_and_scan
        return None

    def _send(self, stage: Stage, current: Tensor) -> tuple[Tensor, Tensor]:
        """Neurons and pooling over all steps, [T, B, ...]; also what was pooled."""
        y = self._gated(stage.name, self._fire(stage, current))
        return self._pooled(stage, y), y

    def _fire(self, stage: Stage, current: Tensor) -> Tensor:
        """What neurons send, [T, B, ...]; the memory of their current is used unless it goes on."""
        neuron, surrogate = stage.neuron, self.spec.surrogate
        if not isinstance(neuron, snn.Leaky):
            return cast(Tensor, neuron(current))
        if self.is_fused and triton_scan.available(current, self.steps):
            return triton_scan.lif_scan(current, neuron, self.steps, surrogate)
        alone = stage.carries != "current"
        return lif_scan(current, neuron, self.steps, surrogate, overwrite=alone)

    def _window(self, stage: Stage, y: Tensor) -> int:
        """Side of the windows that the scan pools itself; 1: the pooling comes after it."""
        size = side_by_side(stage.pool)
        if not size or stage.name in self.gates:
            return 1
        return size if all(n % size == 0 for n in y.shape[3:]) else 1

    def _pooled(self, stage: Stage, y: Tensor) -> Tensor:
        return pooled(stage.pool, y, fused=self.is_fused)

    def _gated(self, name: str, y: Tensor) -> Tensor:
        """Withhold silenced spikes."""
        if name not in self.gates:
            return y
        gate = self.gates[name].t().to(y)  # [T, units]
        return y * gate.view(len(gate), 1, -1, *[1] * (y.dim() - 3))

    def step(self, x: Tensor, membranes: dict[str, Tensor]) -> Tensor:
        """One time step by snnTorch itself: input [B, C, H, W] to readout current [B, classes].

        `membranes` is the state, read and updated; an empty dict starts a sample. This is the
        oracle that `forward` is tested against, and what the dependency graph is traced from.
        """
        features, _ = one_step(self.stages, x, membranes)
        return cast(Tensor, self.readout(features.flatten(1)))


def _over_time(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function of [N, ...] to all steps of [T, B, ...] at once."""
    y: Tensor = function(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return y


def first_step(network: nn.Module, x: Tensor) -> Tensor:
    """Run one step from rest: the forward pass for tracing."""
    return cast(Network, network).step(x, {})
