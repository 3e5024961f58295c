"""Networks built from a `NetworkSpec`, spiking or artificial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity, Pair, Recorded
from pipelines.kernels import bfloat16
from pipelines.networks.neurons import State, make_neuron_model
from pipelines.networks.plans.choice import choose_plan
from pipelines.networks.plans.plan import Plan
from pipelines.networks.plans.step import one_step
from pipelines.networks.stages import build_stages, has_neurons
from pipelines.settings.layout import with_widths
from pipelines.settings.network import READOUT, Execution, NetworkSpec


class Network(nn.Module):
    """A stack of layers (weights, batch norm, neurons, pooling) and a linear readout.

    A `Plan` computes the layers; the readout gets the mean of its input over time.

    A residual block of a spiking network adds the shortcut to the current before the neurons, as
    the membrane shortcut of MS-ResNet does (Hu et al., arXiv 2112.08954): y = norm(conv(s)) +
    shortcut, where s are spikes and y is the input current of the neurons. An identity shortcut
    carries the y of the layer before the block, pooled in the same way as the spikes of that layer.
    A projection shortcut reads the input spikes of the block; MS-ResNet projects y instead. With
    spikes as input, every convolution costs accumulates only. Artificial networks have the
    post-activation form of He et al. (arXiv 1512.03385): relu(norm(conv(x)) + shortcut(x)), where
    x is the input of the block.

    Parameters
    ----------
    spec
        Layers and neurons.
    input_shape
        Shape of one sample at one time step: [channels, height, width].
    classes
        Number of outputs.
    execution
        The plan and the number format.

    Raises
    ------
    ValueError
        If pooling and strides of the layout leave no feature map of inputs of this shape.
    """

    #: Whether a static input counts once for each time step.
    repeats_static: ClassVar[bool] = True
    #: Whether training may go on in a smaller network.
    shrinks: bool = True

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
        """Number of time steps of one sample."""
        return self.spec.steps

    @property
    def plan(self) -> Plan:
        """The plan that computes the network: that of `use`, or the one chosen for its device."""
        if self._given is not None:
            return self._given
        device = self.readout.weight.device
        if device not in self._chosen:
            self._chosen[device] = choose_plan(self.execution, self.spec, device)
        return self._chosen[device]

    @property
    def replayable(self) -> bool:
        """Whether passes can be recorded as CUDA graphs and replayed."""
        return self.plan.replayable

    def layer(self, name: str) -> nn.Module:
        """Return the layer that an activity belongs to."""
        return self.get_submodule(name)

    def has_neurons(self, layer: str) -> bool:
        """Whether a layer has neurons; the readout and projection shortcuts have none."""
        return has_neurons(layer)

    def updates(self, layer: str) -> bool:
        """Whether the neurons of a layer have membranes."""
        return self.spec.kind == "snn" and has_neurons(layer)

    def use(self, plan: Plan) -> Network:
        """Set the plan of this network, and of networks made by `narrowed`; return this network."""
        self._given = plan
        return self

    @property
    def layout(self) -> str:
        """The layout, with the present widths of the layers."""
        widths = [stage.weights.weight.shape[0] for stage in self.stages]
        return with_widths(self.spec.layout, widths)

    def narrowed(self, widths: Sequence[int]) -> Network:
        """Build the same network with other widths; the global random state does not change.

        Parameters
        ----------
        widths
            Number of units of each stage, in the order of `stages`.
        """
        with torch.random.fork_rng(devices=[]):
            spec = self.spec.with_widths(widths)
            small = Network(spec, self.input_shape, self.classes, self.execution)
        small._given = self._given
        reference = next(self.parameters())
        return small.to(device=reference.device, dtype=reference.dtype)

    def silence(self, steps: Mapping[str, Tensor]) -> None:
        """Suppress the spikes of some units at some time steps.

        A silenced unit still integrates its input and resets as if it had fired, but no other layer
        receives the spike.

        Parameters
        ----------
        steps
            Layer -> time steps at which the spikes of a unit are sent, bool [units, T].
        """
        device = self.readout.weight.device
        self.gates = {name: kept.to(device) for name, kept in steps.items()}

    def forward(self, inputs: Tensor) -> Tensor:
        """Return class scores [B, classes] of inputs [B, C, H, W] (static) or [T, B, C, H, W]."""
        return self.record(inputs)[0]

    def run(self, inputs: Tensor) -> tuple[Tensor, dict[str, Pair]]:
        """Compute class scores and the activity of every layer.

        Parameters
        ----------
        inputs
            [B, C, H, W] (static) or [T, B, C, H, W].

        Returns
        -------
        tuple of Tensor and dict
            Class scores [B, classes], and layer -> (its input, its output), [T, B, ...]. The output
            of the readout is the class scores, with T = 1. A static input has T = 1.
        """
        scores, activity = self.record(inputs)
        return scores, dict(Activity(activity))

    def record(self, inputs: Tensor) -> tuple[Tensor, dict[str, Recorded]]:
        """Compute class scores and activity, faster than `run`.

        Feature maps that the plan did not write are `Unwritten`: they are recomputed on demand.
        """
        x = inputs.unsqueeze(0) if inputs.dim() == 4 else inputs
        with bfloat16.autocast(x.device, enabled=self.execution.precision == "bfloat16"):
            features, activity = self.plan.run(self.stages, x, self.gates)
            scores: Tensor = self.readout(features.mean(0))
        scores = scores.to(self.readout.weight.dtype)
        activity[READOUT] = (features, scores.unsqueeze(0))
        return scores, activity

    def neuron_currents(self, normed: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Yield the input current of the neurons of each layer of a spiking network.

        Parameters
        ----------
        normed
            Layer -> output of its batch norm, [T, B, ...]. Projection shortcuts are layers, too.

        Yields
        ------
        tuple of str and Tensor
            Layer, and its current with the shortcut added, [T, B, ...].
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
        """Compute one time step by snnTorch.

        Tests compare `forward` with this function, and the dependency graph is traced from it.

        Parameters
        ----------
        x
            Input at this time step, [B, C, H, W].
        states
            Layer -> state of its neurons. It is read and updated; an empty dict starts a sample.

        Returns
        -------
        Tensor
            Output of the readout, [B, classes].
        """
        features, _ = one_step(self.neurons, self.stages, x, states)
        return cast(Tensor, self.readout(features.flatten(1)))


def first_step(network: nn.Module, x: Tensor) -> Tensor:
    """Compute the first time step of a sample; torch-pruning traces this forward pass."""
    return cast(Network, network).step(x, {})
