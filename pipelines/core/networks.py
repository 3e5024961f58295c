"""Networks built from a `NetworkSpec`, spiking or artificial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import snntorch as snn
import torch
from torch import Tensor, nn

from baselines.activity import Activity, Pair, Recorded, Unwritten
from pipelines.core import fused, triton_scan
from pipelines.core.layouts import Execution, NetworkSpec, parse_layout, with_widths
from pipelines.core.neurons import lif_scan, make_neuron

READOUT = "readout"


@dataclass(frozen=True)
class Stage:
    """The modules of one prunable layer: weights, batch norm, neuron, pooling."""

    name: str
    weights: nn.Conv2d | nn.Linear
    norm: nn.Module
    neuron: nn.Module
    pool: nn.Module


class Network(nn.Module):
    """A stack of weights - batch norm - neuron - pooling, and a linear readout.

    ``forward`` runs layer by layer with time folded into the batch. Batch norm is pooled over
    time and batch, which in training is another function than batch norm per step; both agree
    in evaluation. The readout sees the mean of its input over time.

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
        self.stages: list[Stage] = []
        self.gates: dict[str, Tensor] = {}
        channels, height, width = input_shape
        features = 0
        for token in parse_layout(spec.layout):
            if token.kind == "conv":
                conv = nn.Conv2d(
                    channels, token.size, token.kernel, padding=token.kernel // 2, bias=False
                )
                self._stage("conv", conv, nn.BatchNorm2d(token.size))
                height += 2 * (token.kernel // 2) - token.kernel + 1
                width += 2 * (token.kernel // 2) - token.kernel + 1
                channels = token.size
            elif token.kind == "fc":
                linear = nn.Linear(features or channels * height * width, token.size, bias=False)
                self._stage("fc", linear, nn.BatchNorm1d(token.size))
                features = token.size
            else:
                self._pool(nn.MaxPool2d if token.kind == "max" else nn.AvgPool2d, token.size)
                height, width = height // token.size, width // token.size
            if height < 1 or width < 1:
                raise ValueError(f"layout '{spec.layout}' leaves no map of {input_shape} inputs")
        self.readout = nn.Linear(features or channels * height * width, classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _stage(self, kind: str, weights: nn.Conv2d | nn.Linear, norm: nn.Module) -> None:
        name = f"{kind}{sum(s.name.startswith(kind) for s in self.stages) + 1}"
        neuron = self._neuron()
        self.add_module(name, weights)
        self.add_module(f"{name}_norm", norm)
        self.add_module(f"{name}_neuron", neuron)
        self.stages.append(Stage(name, weights, norm, neuron, nn.Identity()))

    def _pool(self, pooling: type[nn.MaxPool2d] | type[nn.AvgPool2d], size: int) -> None:
        last = self.stages[-1]
        pool = pooling(size)
        self.add_module(f"{last.name}_pool", pool)
        self.stages[-1] = Stage(last.name, last.weights, last.norm, last.neuron, pool)

    def _neuron(self) -> nn.Module:
        spec = self.spec
        if spec.kind == "ann":
            return nn.ReLU()
        neuron: nn.Module = make_neuron(
            spec.beta, spec.learn_beta, spec.threshold, spec.reset, spec.surrogate
        )
        return neuron

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
        """Build the same network with other widths; no random number is drawn."""
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
        half = self.execution.precision == "bfloat16"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            plan = self._stepped if self.execution.plan == "step" else self._folded
            features, activity = plan(x)
            scores: Tensor = self.readout(features.mean(0))
        scores = scores.to(self.readout.weight.dtype)
        activity[READOUT] = (features, scores.unsqueeze(0))
        return scores, activity

    def _folded(self, x: Tensor) -> tuple[Tensor, dict[str, Recorded]]:
        """Layer by layer, time folded into the batch: the readout's input, and all pairs."""
        activity: dict[str, Recorded] = {}
        for stage in self.stages:
            x = x.flatten(2) if isinstance(stage.weights, nn.Linear) else x
            current = stage.weights(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            received = x
            x, sent = self._emit(stage, current)
            activity[stage.name] = (received, sent)
        return x.flatten(2), activity

    def _emit(self, stage: Stage, y: Tensor) -> tuple[Tensor, Tensor | Unwritten]:
        """Batch norm, neurons and pooling over all steps, [T, B, ...]; also what was pooled."""
        spiking = isinstance(stage.neuron, snn.Leaky)
        if spiking and self._fused(y):
            norm, window = cast(fused.Norm, stage.norm), self._window(stage, y)
            y, sent = fused.norm_and_scan(
                y, norm, stage.neuron, self.steps, self.spec.surrogate, window
            )
            if window > 1:
                return y, sent
        else:
            y = stage.norm(y.flatten(0, 1)).unflatten(0, y.shape[:2])
            y = self._scan(y, stage.neuron) if spiking else cast(Tensor, stage.neuron(y))
        y = self._gated(stage.name, y)
        return self._pooled(stage.pool, y), y

    def _window(self, stage: Stage, y: Tensor) -> int:
        """Side of the windows that the scan pools itself; 1: the pooling comes after it."""
        if not isinstance(stage.pool, nn.MaxPool2d) or stage.name in self.gates:
            return 1
        size = stage.pool.kernel_size
        assert isinstance(size, int)
        return size if all(n % size == 0 for n in y.shape[3:]) else 1

    def _scan(self, y: Tensor, neuron: nn.Module) -> Tensor:
        """Neurons over all steps, [T, B, ...]."""
        if self.execution.plan == "fused" and triton_scan.available(y, self.steps):
            return triton_scan.lif_scan(y, neuron, self.steps, self.spec.surrogate)
        return lif_scan(y, neuron, self.steps, self.spec.surrogate, overwrite=True)

    def _pooled(self, pool: nn.Module, y: Tensor) -> Tensor:
        if isinstance(pool, nn.Identity):
            return y
        flat = y.flatten(0, 1)
        if isinstance(pool, nn.MaxPool2d) and self._fused(y):
            assert isinstance(pool.kernel_size, int)
            pooled = fused.max_pool(flat, pool.kernel_size)
        else:
            pooled = cast(Tensor, pool(flat))
        return pooled.view(*y.shape[:2], *pooled.shape[1:])

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
        for stage in self.stages:
            x = x.flatten(1) if isinstance(stage.weights, nn.Linear) else x
            y = stage.norm(stage.weights(x))
            if isinstance(stage.neuron, snn.Leaky):
                before = membranes.get(stage.name, torch.zeros_like(y))
                y, membranes[stage.name] = stage.neuron(y, before)
                stage.neuron.mem = torch.zeros(0)  # the module must not keep the graph alive
            else:
                y = stage.neuron(y)
            if t is not None and stage.name in self.gates:
                kept = self.gates[stage.name][:, t].to(y)
                y = y * kept.view(-1, *[1] * (y.dim() - 2))
            if activity is not None:
                activity[stage.name] = (x, y)
            x = stage.pool(y)
        return x


def first_step(network: nn.Module, x: Tensor) -> Tensor:
    """Run one step from rest: the forward pass for tracing."""
    return cast(Network, network).step(x, {})
