"""Survey of a network whose layers are not known: its layers, their activities and their axes.

One pass of an example on a copy shows which layers run, how their inputs hold time and samples, and
where the activity of each layer is. Hooks record it from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import snntorch
import torch
from torch import Tensor, nn

from baselines.shared.groups import Structure, parameter_shapes, prunable_layers
from dpap.attachment.admission import check_layers
from dpap.attachment.copies import at_rest, copy_of
from dpap.attachment.proof import quiet
from dpap.attachment.recording import Axis, axis_of
from dpap.attachment.units import not_called, trace_network
from dpap.emitters import Emitter, emitters, first_tensor, undisturbed
from pipelines.networks.network import Network

#: Path of the user's module in the network.
NET = "net."
#: How a tensor holds time and samples: samples first, [B, ...]; time and samples in one axis,
#: [T * B, ...]; or in two, [T, B, ...].
Form = Literal["samples", "folded", "timed"]
Run = Callable[[nn.Module, Tensor], Any]

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
#: Modules with weights whose operations are not counted.
_UNCOUNTED = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention, nn.Bilinear)
#: Base classes of the neurons of SpikingJelly and Norse, which need not be installed.
_SPIKING = ("BaseNode", "SNNCell", "SNN")


def is_spiking(module: nn.Module) -> bool:
    """Whether a module is a spiking neuron of snnTorch, SpikingJelly or Norse."""
    names = (kind.__name__ for kind in type(module).__mro__)
    return isinstance(module, snntorch.SpikingNeuron) or any(name in _SPIKING for name in names)


@dataclass(frozen=True)
class Place:
    """Where the activity of a layer is.

    Parameters
    ----------
    emitter
        The module that emits or reads it.
    form
        How its tensors hold time and samples.
    axis
        The units of the layer in it; None for a layer that is not pruned.
    """

    emitter: Emitter
    form: Form
    axis: Axis | None


@dataclass(frozen=True)
class Survey:
    """What is known of a network whose layers are the user's.

    Parameters
    ----------
    readout
        Path of the layer whose outputs are the classes.
    kept
        Layers that are not pruned, the readout included.
    inputs
        Layer -> form of its inputs, in the order of the network.
    places
        Layer, except the readout -> where its activity is.
    drives
        Layer -> the layer of the same units that has the same activity and comes before it.
    counted
        Layers whose activity is that of no layer before; so each neuron is counted once.
    spiking
        Those of them whose neurons have membranes.
    """

    readout: str
    kept: tuple[str, ...]
    inputs: Mapping[str, Form]
    places: Mapping[str, Place]
    drives: Mapping[str, str]
    counted: frozenset[str]
    spiking: frozenset[str]

    def __deepcopy__(self, memo: dict[int, Any]) -> Survey:
        """Return the survey itself: it does not change."""
        return self

    def weights(self, network: nn.Module) -> Structure:
        """Return the structure for pruning single weights."""
        layers = tuple(x for x in prunable_layers(network, self.readout) if x.name not in self.kept)
        return self.with_drives(Structure(layers, parameter_shapes(network)))

    def with_drives(self, structure: Structure) -> Structure:
        """Return a structure whose layers say with which layer they share an activity."""
        layers = (replace(x, drives=self.drives.get(x.name)) for x in structure.layers)
        return replace(structure, layers=tuple(layers))


@dataclass
class Watched:
    """Activity that hooks record during one batch.

    Parameters
    ----------
    survey
        What to record.
    steps
        Time steps of a tensor that has all of them.
    sums
        Sum over the maps, and record prunable layers only; else copy whole tensors.
    inputs, outputs
        Layer -> what each call received, and what its neurons sent, [T, B, ...].
    """

    survey: Survey
    steps: int
    sums: bool
    inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    _calls: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def hooked(self, network: nn.Module) -> Iterator[Watched]:
        """Record the passes of a network inside the context."""
        places = self.survey.places
        readers = [name for name in self.survey.inputs if not self.sums or self._axis(name)]
        emitting = {
            name: [x for x in readers if x in places and places[x].emitter.neuron == name]
            for name in {place.emitter.neuron for place in places.values()}
        }
        with ExitStack() as stack:
            for name, module in network.named_modules():
                if name in readers or emitting.get(name):
                    hook = partial(self._note, name, name in readers, emitting.get(name, []))
                    stack.callback(module.register_forward_hook(hook).remove)
            yield self

    def _axis(self, name: str) -> Axis | None:
        place = self.survey.places.get(name)
        return place.axis if place else None

    @torch.no_grad()
    def _note(
        self,
        name: str,
        reads: bool,
        emits: list[str],
        module: nn.Module,
        arguments: tuple[Any, ...],
        output: Any,
    ) -> None:
        if reads:
            received = self._in_time(arguments[0], self.survey.inputs[name])
            received = _input_sums(received, module) if self.sums else received.clone()
            self.inputs.setdefault(name, []).append(received)
        call = self._calls.get(name, 0)
        self._calls[name] = call + 1
        for layer in emits:
            place = self.survey.places[layer]
            if place.emitter.emits(call):
                self.outputs.setdefault(layer, []).append(self._sent(place, arguments, output))

    def _sent(self, place: Place, arguments: tuple[Any, ...], output: Any) -> Tensor:
        emitter = place.emitter
        activity = first_tensor(arguments[0] if emitter.reads else output)
        activity = activity.abs() if emitter.reads or emitter.current else activity
        if not self.sums:
            return self._in_time(activity, place.form).clone()
        assert place.axis is not None
        sums = place.axis.sums(activity, 2 if place.form == "timed" else 1)
        return sums.unsqueeze(0) if place.form == "samples" else self._unfolded(sums)

    def _in_time(self, x: Tensor, form: Form) -> Tensor:
        if form == "samples":
            return x.detach().unsqueeze(0)
        return self._unfolded(x.detach()) if form == "folded" else x.detach()

    def _unfolded(self, x: Tensor) -> Tensor:
        unfolded: Tensor = x.unflatten(0, (self.steps, -1))
        return unfolded


def _input_sums(x: Tensor, layer: nn.Module) -> Tensor:
    """Sum the inputs of a layer, [T, B, ...], over positions, to [T, B, inputs] in float32."""
    if isinstance(layer, nn.Linear):
        return x.reshape(*x.shape[:2], -1, x.shape[-1]).sum(2, dtype=torch.float32)
    return x.flatten(3).sum(3, dtype=torch.float32)


def survey(network: Network, example: Tensor, run: Run) -> Survey:
    """Survey a network by passes of an example on copies of it.

    Parameters
    ----------
    network
        The network; it does not change.
    example
        Input of `run`; no other axis of a tensor is as long as the number of its samples.
    run
        Runs the user's module.

    Raises
    ------
    ValueError
        If the network is not one that can be measured. The message says what to do.
    """
    spec = network.spec
    for name, module in network.named_modules():
        if isinstance(module, _UNCOUNTED):
            raise ValueError(
                f"the operations of '{name}' ({type(module).__name__}) cannot be counted: build it "
                "from linear layers"
            )
    if spec.kind == "ann" and any(is_spiking(module) for module in network.modules()):
        raise ValueError("it has spiking neurons: remove 'kind: ann', and set time_steps")
    passed = _Passed(network, example, run)
    readout = f"{NET}{spec.readout}" if spec.readout else passed.order[-1]
    ignored = tuple(name for path in spec.ignore for name in _inside(network, f"{NET}{path}"))
    missing = [path for path in spec.ignore if not _inside(network, f"{NET}{path}")]
    if missing:
        raise ValueError(f"ignore names '{missing[0]}', which is not a layer or has none inside")
    check_layers(network, (readout,), ignored)
    _check_scores(network, readout, passed)
    layers = [x.name for x in prunable_layers(network, "") if x.name in passed.inputs]
    for layer in prunable_layers(network, ""):
        if layer.name not in layers and layer.name not in ignored:
            raise ValueError(not_called(layer.name))
    kept = (readout, *ignored)
    inputs = {name: passed.form(passed.inputs[name], name) for name in layers}
    passed.check_order([name for name, form in inputs.items() if form == "folded"], example, run)
    places, drives = _places(network, [x for x in layers if x != readout], kept, passed, run)
    first: dict[tuple[Any, ...], str] = {}
    for name, place in places.items():
        first.setdefault(_key(place.emitter), name)
    modules = dict(network.named_modules())
    spiking = frozenset(
        name
        for name in first.values()
        if _is_neuron(places[name].emitter) and is_spiking(modules[places[name].emitter.neuron])
    )
    found = Survey(readout, kept, inputs, places, drives, frozenset(first.values()), spiking)
    _check_time(network, found, passed)
    return found


class _Passed:
    """Shapes that one pass of a copy shows.

    Parameters
    ----------
    network, example, run
        As for `survey`.
    """

    def __init__(self, network: Network, example: Tensor, run: Run) -> None:
        self.network, self.example = network, example
        self.samples = example.shape[-4]
        self.steps = network.steps if network.spec.takes == "batch" else 1
        self.order: list[str] = []
        self.inputs: dict[str, list[Tensor]] = {}
        self.outputs: dict[str, list[Tensor]] = {}
        try:
            self.result = first_tensor(self.run(example, run))
        except Exception as error:
            shape = list(example.shape)
            text = (str(error).strip().splitlines() or [""])[0][:120]
            raise ValueError(
                f"it does not run on an input of shape {shape} ({type(error).__name__}: {text}): "
                "write it for the inputs of this data set"
            ) from error
        if not self.order:
            raise ValueError("it has no convolution and no linear layer that runs")

    def run(self, example: Tensor, run: Run) -> Any:
        """Run a copy in evaluation mode, and note what its modules receive and return."""
        copy = copy_of(self.network).eval()
        at_rest(copy)

        def note(name: str, module: nn.Module, arguments: Any, output: Any) -> None:
            if isinstance(module, _LAYERS):
                self.order.append(name)
            for what, value in ((self.inputs, arguments), (self.outputs, output)):
                if tensors := [x for x in _flat(value) if isinstance(x, Tensor)]:
                    what.setdefault(name, []).append(tensors[0].clone())

        for name, module in copy.named_modules():
            module.register_forward_hook(partial(note, name))
        with quiet(copy), torch.no_grad():
            torch.manual_seed(0)
            return run(copy, example)

    def form(self, tensors: list[Tensor], layer: str) -> Form:
        """Find out how tensors hold time and samples."""
        shape = tensors[0].shape
        if shape[0] == self.samples:
            return "samples"
        if shape[0] == self.steps * self.samples:
            return "folded"
        if len(shape) > 2 and shape[:2] == (self.steps, self.samples):
            return "timed"
        raise ValueError(
            f"layer '{layer}' works on a tensor of shape {list(shape)}, in which {self.samples} "
            f"samples and {self.steps} time steps are not the first axes: let them be [B, ...], "
            "[T * B, ...] or [T, B, ...], and set time_steps"
        )

    def check_order(self, layers: list[str], example: Tensor, run: Run) -> None:
        """Check that folded tensors have time outermost: only rows of a changed sample change."""
        if not layers:
            return
        before = {name: self.inputs[name] for name in layers}
        other = example.clone()
        other.select(other.dim() - 4, 0).copy_(1 - example.select(example.dim() - 4, 0))
        order = self.order
        self.inputs, self.outputs, self.order = {}, self.outputs, []
        self.run(other, run)
        after, self.inputs, self.order = self.inputs, self.inputs | before, order
        for name in layers:
            for one, two in zip(before[name], after[name], strict=True):
                rows = (one != two).flatten(1).any(1).nonzero().flatten()
                if bool((rows % self.samples != 0).any()):
                    raise ValueError(
                        f"the input of layer '{name}' is [B * T, ...]: put time before samples, "
                        "[T * B, ...]"
                    )


def _inside(network: nn.Module, path: str) -> list[str]:
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, _LAYERS) and (name == path or name.startswith(f"{path}."))
    ]


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _check_scores(network: Network, readout: str, passed: _Passed) -> None:
    shape, layer = passed.result.shape, network.get_submodule(readout)
    timed = (passed.steps, passed.samples, network.classes)
    if shape not in ((passed.samples, network.classes), timed):
        raise ValueError(
            f"its first output has the shape {list(shape)}, for {passed.samples} samples, "
            f"{passed.steps} time steps and {network.classes} classes: set time_steps, or let it "
            "be [B, classes] or [T, B, classes]"
        )
    if not isinstance(layer, nn.Linear) or layer.out_features != network.classes:
        raise ValueError(
            f"layer '{readout}', which runs last, is no linear layer with {network.classes} "
            "outputs: name the layer of the class scores in 'readout'"
        )


def _key(emitter: Emitter) -> tuple[Any, ...]:
    return emitter.neuron, emitter.calls, emitter.reads


def _is_neuron(emitter: Emitter) -> bool:
    return not (emitter.reads or emitter.current)


def _places(
    network: Network, layers: list[str], kept: tuple[str, ...], passed: _Passed, run: Run
) -> tuple[dict[str, Place], dict[str, str]]:
    """Find where the activity of each layer is, and which layers share one."""
    copy = copy_of(network)
    at_rest(copy)
    with quiet(copy):
        with undisturbed(copy):
            found = emitters(copy, layers, lambda: run(copy, passed.example))
        trace, _ = trace_network(copy, passed.example, run)
    places: dict[str, Place] = {}
    drives: dict[str, str] = {}
    units: dict[str, Tensor] = {}
    of_name = {layer.name: layer for layer in prunable_layers(network, "")}
    for name in layers:
        key = (f"{name}.weight", 1 if of_name[name].transposed else 0)
        if name in kept or key not in trace.axes:
            emitter = found[name][0]
            places[name] = Place(emitter, passed.form(_seen(passed, emitter), name), None)
            continue
        units[name] = trace.ties.roots(trace.axes[key])
        for emitter in found[name]:
            labels = (trace.inputs if emitter.reads else trace.outputs).get(emitter.neuron, [])
            if len(labels) != emitter.period:
                continue
            form = passed.form(_seen(passed, emitter), name)
            first = trace.ties.roots(labels[min(emitter.calls)])
            axis = axis_of(first, units[name], 2 if form == "timed" else 1)
            if axis is not None:
                places[name] = Place(emitter, form, axis)
                break
        else:
            raise ValueError(
                f"the activity of layer '{name}' cannot be recorded: no neuron module and no layer "
                "behind it has its units one by one; put an activation module behind it, or name "
                "the layer in 'ignore'"
            )
        for other, place in places.items():
            same = _key(place.emitter) == _key(places[name].emitter)
            if other != name and same and torch.equal(units[other], units[name]):
                drives.setdefault(name, drives.get(other, other))
    return places, drives


def _seen(passed: _Passed, emitter: Emitter) -> list[Tensor]:
    return (passed.inputs if emitter.reads else passed.outputs)[emitter.neuron]


def _check_time(network: Network, found: Survey, passed: _Passed) -> None:
    """Check that the network has as many time steps, and the kind, that its settings say."""
    spec, repeats = network.spec, network.steps // passed.steps
    if spec.kind == "ann":
        return
    spikes = False
    for name in sorted(found.counted):
        place = found.places[name]
        tensors = _seen(passed, place.emitter)
        spikes |= all(bool(((x == 0) | (x == 1)).all()) for x in tensors)
        length = passed.steps if place.form != "samples" else 1
        steps = len(place.emitter.calls) * length * repeats
        if name in found.spiking and steps != network.steps:
            raise ValueError(
                f"the neurons of layer '{name}' run {steps} times for each sample, and time_steps "
                f"is {network.steps}: set time_steps to {steps}, or put time before samples"
            )
    if not spikes:
        raise ValueError("none of its layers sends spikes: write 'kind: ann'")
