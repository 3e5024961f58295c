"""Networks built from a `NetworkSpec`, spiking or artificial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import snntorch as snn
import torch
from torch import Tensor, nn

from pipelines.core.layouts import NetworkSpec, parse_layout, with_widths
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
    """

    def __init__(self, spec: NetworkSpec, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.spec = spec
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
            small = Network(self.spec.with_widths(widths), self.input_shape, self.classes)
        reference = next(self.parameters())
        return small.to(device=reference.device, dtype=reference.dtype)

    def silence(self, steps: Mapping[str, Tensor]) -> None:
        """Withhold the spikes of some units at some steps: layer -> kept, bool [units, T].

        A silenced unit still integrates and resets as if it had fired; nobody receives the spike.
        """
        self.gates = dict(steps)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores [B, classes] of inputs [B, C, H, W] (static) or [T, B, C, H, W]."""
        return self.run(inputs)[0]

    def run(self, inputs: Tensor) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Class scores, and the activity of every layer: name -> (input, output), [T, B, ...].

        The readout's pair is (its input, its scores as one step). A static input keeps T = 1.
        """
        x = inputs.unsqueeze(0) if inputs.dim() == 4 else inputs
        activity: dict[str, tuple[Tensor, Tensor]] = {}
        for stage in self.stages:
            if isinstance(stage.weights, nn.Linear):
                x = x.flatten(2)
            steps = x.shape[0]
            y = stage.norm(stage.weights(x.flatten(0, 1))).unflatten(0, (steps, -1))
            if isinstance(stage.neuron, snn.Leaky):
                y = lif_scan(y, stage.neuron, self.steps, self.spec.surrogate, overwrite=True)
            else:
                y = stage.neuron(y)
            if stage.name in self.gates:
                gate = self.gates[stage.name].t().to(y)  # [T, units]
                y = y * gate.view(len(gate), 1, -1, *[1] * (y.dim() - 3))
            activity[stage.name] = (x, y)
            if isinstance(stage.pool, nn.Identity):
                x = y
            else:
                x = stage.pool(y.flatten(0, 1)).unflatten(0, (y.shape[0], -1))
        x = x.flatten(2)
        scores = cast(Tensor, self.readout(x.mean(0)))
        activity[READOUT] = (x, scores.unsqueeze(0))
        return scores, activity

    def step(self, x: Tensor, membranes: dict[str, Tensor]) -> Tensor:
        """One time step by snnTorch itself: input [B, C, H, W] to readout current [B, classes].

        `membranes` is the state, read and updated; an empty dict starts a sample. This is the
        oracle that `forward` is tested against, and what the dependency graph is traced from.
        """
        for stage in self.stages:
            if isinstance(stage.weights, nn.Linear):
                x = x.flatten(1)
            x = stage.norm(stage.weights(x))
            if isinstance(stage.neuron, snn.Leaky):
                before = membranes.get(stage.name, torch.zeros_like(x))
                x, membranes[stage.name] = stage.neuron(x, before)
                stage.neuron.mem = torch.zeros(0)  # the module must not keep the graph alive
            else:
                x = stage.neuron(x)
            x = stage.pool(x)
        return cast(Tensor, self.readout(x.flatten(1)))


def first_step(network: nn.Module, x: Tensor) -> Tensor:
    """Run one step from rest: the forward pass for tracing."""
    return cast(Network, network).step(x, {})
