"""Networks built from a `NetworkSpec`, spiking or artificial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity, Pair, Recorded
from pipelines.kernels import bfloat16
from pipelines.networks.neurons import State, make_neuron_model
from pipelines.networks.plans.choice import choose_plan
from pipelines.networks.plans.plan import Plan
from pipelines.networks.plans.step import one_step
from pipelines.networks.stages import build_stages
from pipelines.settings.layout import with_widths
from pipelines.settings.network import READOUT, Execution, NetworkSpec


class Network(nn.Module):
    """A stack of layers (weights, batch norm, neurons, pooling) and a linear readout.

    A `Plan` computes the layers; the readout gets the mean of its input over time.

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
        Of one sample at one time step: [channels, height, width].
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
        self._given: Plan | None = None
        self._chosen: dict[torch.device, Plan] = {}
        self.neurons = make_neuron_model(spec)
        self.stages, features = build_stages(spec, input_shape, self.neurons)
        for stage in self.stages:
            for name, module in stage.modules():
                self.add_module(name, module)
        self.readout = nn.Linear(features, classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def steps(self) -> int:
        """Time steps of one sample."""
        return self.spec.steps

    @property
    def plan(self) -> Plan:
        """How it is computed: what `use` was given, or else what suits its device."""
        if self._given is not None:
            return self._given
        device = self.readout.weight.device
        if device not in self._chosen:
            self._chosen[device] = choose_plan(self.execution, self.spec, device)
        return self._chosen[device]

    def use(self, plan: Plan) -> Network:
        """Compute this network and those that `narrowed` makes of it by one plan; return it."""
        self._given = plan
        return self

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
        small._given = self._given
        reference = next(self.parameters())
        return small.to(device=reference.device, dtype=reference.dtype)

    def silence(self, steps: Mapping[str, Tensor]) -> None:
        """Withhold the spikes of some units at some time steps: layer -> kept, bool [units, T].

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
        """Class scores, and activity in which some maps may be `Unwritten`; faster than `run`."""
        x = inputs.unsqueeze(0) if inputs.dim() == 4 else inputs
        with bfloat16.autocast(x.device, enabled=self.execution.precision == "bfloat16"):
            features, activity = self.plan.run(self.stages, x, self.gates)
            scores: Tensor = self.readout(features.mean(0))
        scores = scores.to(self.readout.weight.dtype)
        activity[READOUT] = (features, scores.unsqueeze(0))
        return scores, activity

    def neuron_currents(self, normed: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Input currents of the neurons of each layer of a spiking network, shortcuts added.

        Parameters
        ----------
        normed
            Layer -> output of its batch norm, [T, B, ...]; projection shortcuts are layers too.
        """
        carried = torch.zeros(())
        for stage in self.stages:
            current = normed(stage.name)
            if stage.shortcut:
                name = stage.shortcut.name
                current = current + (normed(name) if name else carried)
            yield stage.name, current
            if stage.carries == "current":
                carried = self.plan.pool(stage.pool, current)

    def step(self, x: Tensor, states: dict[str, State]) -> Tensor:
        """One time step by snnTorch: input [B, C, H, W] to readout current [B, classes].

        `states` are those of the neurons, layer by layer, read and updated; an empty dict starts a
        sample. `forward` is tested against this, and the dependency graph is traced from it.
        """
        features, _ = one_step(self.neurons, self.stages, x, states)
        return cast(Tensor, self.readout(features.flatten(1)))


def first_step(network: nn.Module, x: Tensor) -> Tensor:
    """Run one step from rest: the forward pass for tracing."""
    return cast(Network, network).step(x, {})
