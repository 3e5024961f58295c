"""Networks that a factory of the user's builds: proven at start, observed by hooks, and cut.

The harness knows no layers of such a network. What it must know is found at start, by the machinery
of `dpap.attachment`: which units may be removed, and where the activity of each layer is. A network
of which this cannot be proven is refused before training, in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from baselines.shared.activity import Pair, Recorded
from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from dpap.attachment.copies import at_rest, copy_of
from dpap.attachment.proof import proven_units
from dpap.attachment.surgery import cut_units
from dpap.attachment.units import Units, find_units
from dpap.emitters import first_tensor
from pipelines.common.errors import InputError
from pipelines.common.factory import call_factory, short
from pipelines.kernels import bfloat16
from pipelines.networks.network import Network
from pipelines.networks.shrinking import can_shrink
from pipelines.networks.survey import NET, Survey, Watched, survey
from pipelines.settings.network import READOUT, Execution, NetworkSpec

_surveys: dict[str, Survey] = {}
_units: dict[str, tuple[Units, bool]] = {}


class OwnNetwork(Network):
    """The module of a factory, with the interface of `Network`.

    Its class scores are the first output of the module, [B, classes], or the mean over the time
    steps of an output [T, B, classes]. Layers have their paths in the module, after ``net.``.

    Parameters
    ----------
    spec
        Names the factory.
    input_shape
        Shape of one sample at one time step: [channels, height, width].
    classes
        Number of classes.
    execution
        The number format, and whether dead units are removed during training.
    timed
        Whether inputs have a time axis, [T, B, C, H, W].

    Attributes
    ----------
    observed
        Whether training passes record the activity, which not every method needs.
    shrinks
        Whether training may go on in a smaller network; `structure` finds it out.

    Raises
    ------
    InputError
        If the factory fails, or the network is not one that the harness can measure.
    """

    repeats_static = False

    def __init__(
        self,
        spec: NetworkSpec,
        input_shape: tuple[int, int, int],
        classes: int,
        execution: Execution,
        *,
        timed: bool = False,
    ) -> None:
        nn.Module.__init__(self)
        self.spec = spec
        self.execution = execution
        self.input_shape = input_shape
        self.classes = classes
        self.timed = timed
        self.gates = {}
        self.stages = ()
        self.observed = True
        self.shrinks = False
        self.net = _module(spec)
        dense = spec.model_copy(update={"layout": ""})
        self._key = f"{dense.model_dump_json()} {input_shape} {classes} {timed}"
        with self._refusing():
            if self._key not in _surveys:
                _surveys[self._key] = survey(self, self._example(), self._run)
            self.survey = _surveys[self._key]
            if spec.layout:
                self._cut(_widths(spec.layout))

    @property
    def replayable(self) -> bool:
        """Passes are never recorded as CUDA graphs: the module may do anything."""
        return False

    @property
    def readout(self) -> nn.Linear:  # type: ignore[override]
        """The layer whose outputs are the classes."""
        return cast(nn.Linear, self.get_submodule(self.survey.readout))

    @property
    def layout(self) -> str:
        """The widths of the unit groups, or of all layers if units cannot be removed."""
        modules = dict(self.named_modules())
        names = [group.name for group in self._found()[0].structure.groups]
        return "-".join(f"{name}:{len(modules[name].weight)}" for name in names)

    def layer(self, name: str) -> nn.Module:
        """Return a layer by the name that activities and costs have for it."""
        return self.readout if name == READOUT else self.get_submodule(name)

    def has_neurons(self, layer: str) -> bool:
        """Whether a layer has an activity that is counted with no layer before it."""
        return layer in self.survey.counted

    def updates(self, layer: str) -> bool:
        """Whether the neurons of a layer have membranes."""
        return layer in self.survey.spiking

    def structure(self, granularity: str) -> Structure:
        """Return the prunable layers and unit groups, and find out whether `shrinks`.

        Raises
        ------
        InputError
            If units cannot be removed; with the layer, and what to do.
        """
        if granularity in ("none", "unstructured"):
            return self.survey.weights(self)
        units, self.shrinks = self._found()
        mine = find_units(self, units.trace, units.states, units.kept)
        return self.survey.with_drives(mine.structure)

    def remove(self, masks: Masks) -> None:
        """Remove pruned units from the modules, in place."""
        if masks.units:
            units, _ = self._found()
            cut_units(self, units.cuts, units.counted, masks.units)

    def narrowed(self, widths: Sequence[int]) -> Network:
        """Copy the network with other widths.

        Parameters
        ----------
        widths
            Number of units of each layer of `structure` that has neurons, in its order.
        """
        self.rest()
        small = copy_of(self)
        structure = self.survey.with_drives(self._found()[0].structure)
        names = [layer.name for layer in structure.layers if layer.drives is None]
        small._cut(dict(zip(names, widths, strict=True)))
        if self.observed:
            small.survey = survey(small, small._example(), small._run)
        return small

    def silence(self, steps: Mapping[str, Tensor]) -> None:
        """Refuse to silence time steps: the module has no place for it."""
        if steps:
            raise InputError("a network of a factory cannot lose single time steps.")

    def forward(self, inputs: Tensor) -> Tensor:
        """Return class scores [B, classes] of inputs [B, C, H, W] or [T, B, C, H, W]."""
        with bfloat16.autocast(inputs.device, enabled=self.execution.precision == "bfloat16"):
            scores = self._scores(inputs)
        return scores.to(next(self.parameters()).dtype)

    def run(self, inputs: Tensor) -> tuple[Tensor, dict[str, Pair]]:
        """Compute class scores and the activity of every layer, see `Network.run`.

        What a layer reads has as many time steps as the layer has calls.
        """
        found = self.survey
        with Watched(found, self.steps, sums=False).hooked(self) as seen:
            scores = self(inputs)
        activity: dict[str, Pair] = {}
        for name, received in seen.inputs.items():
            if name != found.readout:
                activity[name] = (torch.cat(received), torch.cat(seen.outputs[name]))
        activity[READOUT] = (torch.cat(seen.inputs[found.readout]), scores.unsqueeze(0))
        return scores, activity

    def record(self, inputs: Tensor) -> tuple[Tensor, dict[str, Recorded]]:
        """Compute class scores, and the activity of every prunable layer, summed over its maps."""
        if not self.observed:
            return self(inputs), {}
        with Watched(self.survey, self.steps, sums=True).hooked(self) as seen:
            scores = self(inputs)
        activity: dict[str, Recorded] = {}
        for name, received in seen.inputs.items():
            one, two = torch.cat(received), torch.cat(seen.outputs[name])
            if len(one) not in (1, len(two)):  # a layer with more calls than its neurons
                one = one.mean(0, keepdim=True)
            activity[name] = (one, two)
        return scores, activity

    def step(self, x: Tensor, states: dict[str, Any]) -> Tensor:
        """Refuse to compute single time steps."""
        raise InputError("a network of a factory has no time steps that the harness can compute.")

    def rest(self) -> None:
        """Put the neurons of snnTorch and SpikingJelly at rest, and call the module's ``reset``."""
        at_rest(self)
        reset = getattr(self.net, "reset", None)
        if callable(reset):
            reset()

    def _scores(self, inputs: Tensor) -> Tensor:
        self.rest()
        if self.spec.takes == "step":
            steps = inputs if inputs.dim() == 5 else [inputs] * self.steps
            output = torch.stack([first_tensor(self.net(x)) for x in steps]).mean(0)
        else:
            output = first_tensor(self.net(inputs))
        self.rest()  # copies and the next batch do not meet the states of this one
        return output.mean(0) if output.dim() == 3 else output

    def _run(self, network: nn.Module, inputs: Tensor) -> Any:
        """Run the module once, for the survey."""
        assert isinstance(network, OwnNetwork)
        return network.net(inputs)

    def _example(self, samples: int | None = None) -> Tensor:
        """Random inputs of the module, of so many samples that no other axis is as long."""
        size = samples or next(n for n in (3, 5) if n != self.steps)
        timed = self.timed and self.spec.takes == "batch"
        shape = (self.steps, size) if timed else (size,)
        draw = torch.Generator().manual_seed(0)
        inputs = torch.rand(*shape, *self.input_shape, generator=draw)
        inputs = (inputs < 0.3).float() if self.timed else inputs
        return inputs.to(next(self.parameters()).device)

    def _found(self) -> tuple[Units, bool]:
        """Proven units of the dense network, and whether training may go on in a smaller one."""
        if self._key not in _units:
            dense = self
            if self.spec.layout:
                spec = self.spec.model_copy(update={"layout": ""})
                shape = self.input_shape
                dense = OwnNetwork(spec, shape, self.classes, self.execution, timed=self.timed)
            with dense._refusing(), torch.random.fork_rng(devices=[]):
                units = proven_units(dense, dense._example(), dense._run, dense.survey.kept)
                shrinks = can_shrink(dense, units, dense._example(8))
            _units[self._key] = units, shrinks
        return _units[self._key]

    def _cut(self, widths: Mapping[str, int]) -> None:
        """Keep the first units of each group."""
        units, _ = self._found()
        kept = {
            group.name: torch.arange(group.size) < widths.get(group.name, group.size)
            for group in units.structure.groups
        }
        cut_units(self, units.cuts, units.counted, kept)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn what is wrong with the network into one sentence."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # the module may raise anything
            text = str(error) if isinstance(error, ValueError) else short(error)
            text = text.replace(f"'{NET}", "'").rstrip(".")
            raise InputError(f"network of factory '{self.spec.factory}': {text}.") from error


def _module(spec: NetworkSpec) -> nn.Module:
    made = call_factory(spec.factory, spec.options)
    if not isinstance(made, nn.Module):
        raise InputError(
            f"factory '{spec.factory}' returns a value of type {type(made).__name__}; let it "
            "return a torch.nn.Module."
        )
    module: nn.Module = getattr(made, "_orig_mod", made)  # of a compiled network
    return module


def _widths(layout: str) -> dict[str, int]:
    """Read a layout of `OwnNetwork.layout`."""
    pairs = (part.rsplit(":", 1) for part in layout.split("-"))
    return {name: int(width) for name, width in pairs}
