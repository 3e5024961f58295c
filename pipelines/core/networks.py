"""Networks built from a `NetworkSpec`, spiking or artificial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import cast

import snntorch as snn
import torch
from torch import Tensor, nn

from baselines.activity import Activity, Pair, Recorded, Unwritten
from pipelines.core import fused, half, one_channel, spike_convolution, triton_norm, triton_scan
from pipelines.core.flatten import flatten_maps
from pipelines.core.layouts import READOUT, Execution, NetworkSpec
from pipelines.core.neurons import lif_scan
from pipelines.core.stages import Stage, build_stages, side_by_side
from pipelines.core.tokens import with_widths


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
            plan = self._stepped if self.execution.plan == "step" else self._folded
            features, activity = plan(x)
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
                carried = self._pooled(stage.pool, current)

    def _folded(self, x: Tensor) -> tuple[Tensor, dict[str, Recorded]]:
        """Layer by layer, time folded into the batch: the readout's input, and all pairs."""
        activity: dict[str, Recorded] = {}
        carried = x  # what the next shortcut is given
        sent: Tensor | Unwritten
        for stage in self.stages:
            x = flatten_maps(x) if isinstance(stage.weights, nn.Linear) else x
            current, received = _over_time(partial(self._weigh, stage.weights), x), x
            if stage.joined:
                current = _over_time(stage.norm, current)
                if stage.shortcut:
                    current = current + _over_time(stage.shortcut, carried)
                x, sent = self._send(stage, current)
            else:
                x, sent = self._emit(stage, current)
            activity[stage.name] = (received, sent)
            if stage.shortcut and stage.shortcut.name:
                activity[stage.shortcut.name] = (carried, sent)
            if stage.carries:
                carried = x if stage.carries == "output" else self._pooled(stage.pool, current)
        return flatten_maps(x), activity

    def _weigh(self, weights: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
        """What a layer gives; a convolution may be one of grey images, or of spikes."""
        compiled = self.execution.plan == "fused"
        if isinstance(weights, nn.Conv2d):
            if one_channel.suits(weights, x):
                return one_channel.convolve(weights, x, fused=compiled)
            if compiled and self.spec.kind == "snn":
                return spike_convolution.convolve(weights, x)
        return cast(Tensor, weights(x))

    def _emit(self, stage: Stage, y: Tensor) -> tuple[Tensor, Tensor | Unwritten]:
        """Batch norm, neurons and pooling over all steps, [T, B, ...]; also what was pooled."""
        norm_and_scan = self._at_once(y)
        if norm_and_scan is None or not isinstance(stage.neuron, snn.Leaky):
            return self._send(stage, _over_time(stage.norm, y))
        norm, window = cast(fused.Norm, stage.norm), self._window(stage, y)
        y, sent = norm_and_scan(y, norm, stage.neuron, self.steps, self.spec.surrogate, window)
        if window > 1:
            return y, sent
        y = self._gated(stage.name, y)
        return self._pooled(stage.pool, y), y

    def _send(self, stage: Stage, current: Tensor) -> tuple[Tensor, Tensor]:
        """Neurons and pooling over all steps, [T, B, ...]; also what was pooled."""
        y = self._gated(stage.name, self._fire(stage, current))
        return self._pooled(stage.pool, y), y

    def _fire(self, stage: Stage, current: Tensor) -> Tensor:
        """What neurons send, [T, B, ...]; the memory of their current is used unless it goes on."""
        neuron, surrogate = stage.neuron, self.spec.surrogate
        if not isinstance(neuron, snn.Leaky):
            return cast(Tensor, neuron(current))
        if self.execution.plan == "fused" and triton_scan.available(current, self.steps):
            return triton_scan.lif_scan(current, neuron, self.steps, surrogate)
        alone = stage.carries != "current"
        return lif_scan(current, neuron, self.steps, surrogate, overwrite=alone)

    def _window(self, stage: Stage, y: Tensor) -> int:
        """Side of the windows that the scan pools itself; 1: the pooling comes after it."""
        size = side_by_side(stage.pool)
        if not size or stage.name in self.gates:
            return 1
        return size if all(n % size == 0 for n in y.shape[3:]) else 1

    def _pooled(self, pool: nn.Module, y: Tensor) -> Tensor:
        if isinstance(pool, nn.Identity):
            return y
        flat, size = y.flatten(0, 1), side_by_side(pool)
        pooled = fused.max_pool(flat, size) if size and self._fused(y) else cast(Tensor, pool(flat))
        return pooled.view(*y.shape[:2], *pooled.shape[1:])

    def _at_once(self, y: Tensor) -> fused.NormAndScan | None:
        """Batch norm, neurons and pooling in one function, where there is one for such maps."""
        if self._fused(y):
            return fused.norm_and_scan
        if self.execution.plan == "fused" and triton_scan.available(y, self.steps):
            return triton_norm.norm_and_scan
        return None

    def _fused(self, y: Tensor) -> bool:
        return self.execution.plan == "fused" and fused.available(y)

    def _gated(self, name: str, y: Tensor) -> Tensor:
        """Withhold silenced spikes."""
        if name not in self.gates:
            return y
        gate = self.gates[name].t().to(y)  # [T, units]
        return y * gate.view(len(gate), 1, -1, *[1] * (y.dim() - 3))

    def _stepped(self, x: Tensor) -> tuple[Tensor, dict[str, Recorded]]:
        """One time step after another by snnTorch; what `_folded` gives."""
        membranes: dict[str, Tensor] = {}
        steps: list[dict[str, Pair]] = []
        features: list[Tensor] = []
        for t in range(self.steps):
            pairs: dict[str, Pair] = {}
            now = x[t] if len(x) > 1 else x[0]
            features.append(self._step(now, membranes, t, pairs).flatten(1))
            steps.append(pairs)
        activity: dict[str, Recorded] = {
            name: (
                torch.stack([p[name][0] for p in steps]),
                torch.stack([p[name][1] for p in steps]),
            )
            for name in steps[0]
        }
        return torch.stack(features), activity

    def step(self, x: Tensor, membranes: dict[str, Tensor]) -> Tensor:
        """One time step by snnTorch itself: input [B, C, H, W] to readout current [B, classes].

        `membranes` is the state, read and updated; an empty dict starts a sample. This is the
        oracle that `forward` is tested against, and what the dependency graph is traced from.
        """
        return cast(Tensor, self.readout(self._step(x, membranes).flatten(1)))

    def _step(
        self,
        x: Tensor,
        membranes: dict[str, Tensor],
        t: int | None = None,
        activity: dict[str, Pair] | None = None,
    ) -> Tensor:
        """One time step, up to the readout's input; with silenced spikes if `t` is given."""
        carried = x
        for stage in self.stages:
            x = x.flatten(1) if isinstance(stage.weights, nn.Linear) else x
            current, received = stage.norm(stage.weights(x)), x
            if stage.shortcut:
                current = current + stage.shortcut(carried)
            y = self._stepped_neuron(stage, current, membranes)
            if t is not None and stage.name in self.gates:
                kept = self.gates[stage.name][:, t].to(y)
                y = y * kept.view(-1, *[1] * (y.dim() - 2))
            x = stage.pool(y)
            if activity is not None:
                activity[stage.name] = (received, y)
                if stage.shortcut and stage.shortcut.name:
                    activity[stage.shortcut.name] = (carried, y)
            if stage.carries:
                carried = x if stage.carries == "output" else stage.pool(current)
        return x

    @staticmethod
    def _stepped_neuron(stage: Stage, current: Tensor, membranes: dict[str, Tensor]) -> Tensor:
        """What neurons send in one step; their membrane is read and updated."""
        if not isinstance(stage.neuron, snn.Leaky):
            return cast(Tensor, stage.neuron(current))
        before = membranes.get(stage.name, torch.zeros_like(current))
        y, membranes[stage.name] = stage.neuron(current, before)
        stage.neuron.mem = torch.zeros(0)  # the module must not keep the graph alive
        return cast(Tensor, y)


def _over_time(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function of [N, ...] to all steps of [T, B, ...] at once."""
    y: Tensor = function(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return y


def first_step(network: nn.Module, x: Tensor) -> Tensor:
    """Run one step from rest: the forward pass for tracing."""
    return cast(Network, network).step(x, {})
