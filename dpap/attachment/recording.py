"""Recording: hooks that sum the activity of every unit, on the axis where the unit is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.groups import PrunableLayer
from dpap.attachment.labels import _vector
from dpap.attachment.units import Units
from dpap.emitters import Emitter, first_tensor


@dataclass(frozen=True)
class Axis:
    """Where the units of a layer are in an activity.

    Parameters
    ----------
    units
        Number of outputs of the layer.
    dim
        Dimension of the units, if they are on one. Else 0.
    position
        The output at each position of this dimension, or at each element of a sample; `units` where
        there is none.
    shares
        Factor of each output: 1 / number of outputs that share the elements of one unit.
    """

    units: int
    dim: int
    position: Tensor
    shares: Tensor

    def sums(self, activity: Tensor, rows: int) -> Tensor:
        """Sum an activity over all but samples and units, to [samples, units] in float32.

        Parameters
        ----------
        activity
            [B, ...], or [T, B, ...].
        rows
            Number of leading dimensions that are samples: 1 or 2.
        """
        if self.dim:
            flat = activity.movedim(self.dim, -1).flatten(0, rows - 1)
            sums = flat.reshape(len(flat), -1, flat.shape[-1]).sum(1, dtype=torch.float32)
        else:
            sums = activity.flatten(0, rows - 1).flatten(1).float()
        position = self.position.to(sums.device)
        if sums.shape[1] != len(position):
            raise ValueError(
                f"an activity has {sums.shape[1]} elements per sample, not {len(position)} as with "
                "the example: attach with an example of the size of the training inputs"
            )
        total = sums.new_zeros(len(sums), self.units + 1).index_add_(1, position, sums)
        return total[:, : self.units] * self.shares.to(sums.device)


def axis_of(labels: Tensor, outputs: Tensor, rows: int) -> Axis | None:
    """Find the units of a layer in an activity; None if some are missing.

    Parameters
    ----------
    labels
        Representing labels of the activity's elements.
    outputs
        Representing labels of the layer's outputs.
    rows
        Number of leading dimensions that are samples.
    """
    first = {label: i for i, label in reversed(list(enumerate(outputs.tolist())))}
    ids = torch.tensor([*first])
    mine = torch.where(torch.isin(labels, ids), labels, 0)
    if len(mine.unique()) < len(first) + (1 if bool((mine == 0).any()) else 0):
        return None
    dims = range(rows, labels.dim())
    lines = [(d, _vector(mine, d)) for d in dims]
    found = next(((d, v) for d, v in lines if v is not None and len(v.unique()) > 1), None)
    if found is None:
        sample = mine.flatten(0, rows - 1)
        if not bool((sample == sample[:1]).all()):
            return None
        dim, places = 0, sample[0].flatten()
    else:
        dim, places = found
    units = len(outputs)
    position = torch.tensor([first.get(x, units) for x in places.tolist()])
    number = torch.tensor([int((outputs == x).sum()) for x in outputs])
    return Axis(units, dim, position, 1.0 / number)


class Hook:
    """A forward hook of one handle. Copies of the network get one that does nothing.

    Parameters
    ----------
    note
        Called with the module's arguments and output.
    """

    def __init__(self, note: Callable[[tuple[Any, ...], Any], None] | None = None) -> None:
        # Not as decorators: `disable` imports the compiler, which takes as long as all of torch.
        self.note = note and torch.compiler.disable(torch.no_grad()(note))

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Hook, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        return Hook()

    def __call__(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """Record without gradients."""
        if self.note is not None:
            self.note(arguments, output)


@dataclass(frozen=True)
class Place:
    """Where the activity of one layer is recorded.

    Parameters
    ----------
    layer
        The layer.
    emitter
        The module that emits or reads its output.
    axis
        Its units there.
    calls
        How often the layer runs in one forward pass.
    static
        Whether the layer runs once for all time steps, which are folded into its output.
    """

    layer: PrunableLayer
    emitter: Emitter
    axis: Axis
    calls: int
    static: bool = False


def find_places(
    units: Units, found: Mapping[str, Sequence[Emitter]], folded: int | None
) -> list[Place]:
    """Choose for each layer where its activity is recorded.

    Parameters
    ----------
    units
        The layers and the labels of activities.
    found
        Layer -> where its activity may be recorded, the best place first.
    folded
        Number of time steps in each activity; None: time is not folded.

    Raises
    ------
    ValueError
        If the units of a layer are nowhere one by one, or time is not where it should be.
    """
    places, roots = [], units.trace.ties.roots
    rows = 1 if folded is None else 2
    for layer in units.structure.layers:
        outputs = roots(units.trace.axes[layer.weight, 1 if layer.transposed else 0])
        calls = len(units.trace.inputs[layer.name])
        for emitter in found[layer.name]:
            seen = units.trace.inputs if emitter.reads else units.trace.outputs
            labels = seen.get(emitter.neuron, [])
            if len(labels) != emitter.period:
                continue
            first = roots(labels[min(emitter.calls)])
            axis = axis_of(first, outputs, rows)
            if axis is None and rows == 2:  # [T * B, ...]
                axis = axis_of(first, outputs, 1)
            # Where tokens or windows are samples, only a place with the same samples will do.
            read = units.trace.inputs[layer.name][0].shape
            samples, emitted = _samples(read, folded), _samples(labels[0].shape, folded)
            static = folded is not None and samples * folded == emitted
            if axis is not None and (samples == emitted or static):
                if folded is not None and labels[0].shape[0] % folded:
                    raise ValueError(
                        f"the activity of layer '{layer.name}' has shape {tuple(labels[0].shape)}: "
                        f"with folded=True it must be [T, B, ...] or [T * B, ...], with T = "
                        f"{folded}; give an example of this shape, or the right steps"
                    )
                places.append(Place(layer, emitter, axis, calls, static))
                break
        else:
            raise ValueError(
                f"the activity of layer '{layer.name}' cannot be recorded: no neuron module and no "
                "layer behind it has its units one by one; put an activation module behind it, or "
                f"keep its units with ignore=['{layer.name}']"
            )
    return places


def _samples(shape: torch.Size, folded: int | None) -> int:
    """Number of samples in an activity of this shape, times its time steps."""
    return shape[0] * shape[1] if shape[0] == folded and len(shape) > 2 else shape[0]


class Recorder:
    """Records the activity of all layers of a network while it trains.

    Parameters
    ----------
    network
        The network.
    places
        Where the activity is.
    passes
        Number of forward passes per batch; 0: all passes since the last update are one batch.
    steps
        Time steps in the leading part of an activity, if time is folded into the batch; else 1.
    """

    def __init__(
        self, network: nn.Module, places: Sequence[Place], passes: int, steps: int
    ) -> None:
        self.network = network
        self.places = tuple(places)
        self.passes = passes
        self.steps = steps
        self.recording = True
        self.hooks: list[torch.utils.hooks.RemovableHandle] = []
        self.clear()
        modules = dict(network.named_modules())
        for place in places:
            for name, note in (
                (place.layer.name, self._input_of(place)),
                (place.emitter.neuron, self._output_of(place)),
            ):
                self.hooks.append(modules[name].register_forward_hook(Hook(note)))

    def clear(self) -> None:
        """Forget what was recorded since the last update."""
        names = [place.layer.name for place in self.places]
        self.inputs: dict[str, list[Tensor]] = {name: [] for name in names}
        self.outputs: dict[str, list[Tensor]] = {name: [] for name in names}
        self._calls = dict.fromkeys(names, 0)

    def remove(self) -> None:
        """Remove the hooks."""
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()
        self.clear()

    def _active(self) -> bool:
        # Activation checkpointing runs layers again during the backward pass.
        again = torch._C._current_graph_task_id() != -1
        return self.network.training and self.recording and not again

    def _inputs_of(self, layer: PrunableLayer) -> int:
        module = self.network.get_submodule(layer.name)
        units = module.in_features if isinstance(module, nn.Linear) else module.in_channels
        assert isinstance(units, int)
        return units

    def _input_of(self, place: Place) -> Callable[[tuple[Any, ...], Any], None]:
        layer = place.layer
        units = self._inputs_of(layer)

        def note(arguments: tuple[Any, ...], output: Any) -> None:
            if self._active():
                self.inputs[layer.name].append(_input_sums(arguments[0], layer, units, self.steps))

        return note

    def _output_of(self, place: Place) -> Callable[[tuple[Any, ...], Any], None]:
        name, emitter = place.layer.name, place.emitter

        def note(arguments: tuple[Any, ...], output: Any) -> None:
            if not self._active():
                return
            if emitter.emits(self._calls[name]):
                activity = first_tensor(arguments[0] if emitter.reads else output)
                activity = activity.abs() if emitter.reads or emitter.current else activity
                rows = _rows(activity, place.axis.dim, self.steps)
                self.outputs[name].append(place.axis.sums(activity, rows))
            self._calls[name] += 1

        return note

    def batches(self, given: bool) -> list[Activity]:
        """Return the activity of each batch since the last update.

        Parameters
        ----------
        given
            Whether the number of time steps is sure, so that more passes are more batches.

        Raises
        ------
        ValueError
            If the layers did not run as often as whole batches need.
        """
        counts = {
            place.layer.name: (
                len(self.inputs[place.layer.name]),
                len(self.outputs[place.layer.name]),
                place.calls,
                len(place.emitter.calls),
            )
            for place in self.places
        }
        # Stochastic depth leaves layers out: their units were silent.
        absent = [place for place in self.places if counts[place.layer.name][:2] == (0, 0)]
        if len(absent) < len(self.places):
            counts = {name: count for name, count in counts.items() if count[:2] != (0, 0)}
        if self.passes:
            ran = {
                n / (c * self.passes) for n, m, c, e in counts.values() for n, c in ((n, c), (m, e))
            }
        else:
            ran = {float(n > 0) for n, *_ in counts.values()}
        number = ran.pop() if len(ran) == 1 else 0.0
        if number < 1 or number != int(number) or (number > 1 and not given):
            name, (n, m, c, _) = next(iter(counts.items()))
            raise ValueError(
                f"layer '{name}' ran {n} times in training mode since the last "
                f"update, and its neurons {m} times, not steps={c * self.passes} times: "
                "call update() once after every batch, and attach() with the right steps"
            )
        static = {place.layer.name: place.static for place in self.places}
        found = []
        for i in range(int(number)):
            pairs = {}
            for name in counts:
                one = self._part(self.inputs[name], i, number, 1 if static[name] else self.steps)
                two = self._part(self.outputs[name], i, number, self.steps)
                if len(one) not in (1, len(two)):  # a layer with more calls than its neurons
                    one = one.mean(0, keepdim=True)
                pairs[name] = (one, two)
            rows = next(iter(pairs.values()))[1]
            for place in absent:
                sizes = (self._inputs_of(place.layer), place.axis.units)
                one, two = (rows.new_zeros(*rows.shape[:2], size) for size in sizes)
                pairs[place.layer.name] = (one, two)
            found.append(
                Activity({place.layer.name: pairs[place.layer.name] for place in self.places})
            )
        return found

    def _part(self, recorded: list[Tensor], i: int, number: float, steps: int) -> Tensor:
        size = len(recorded) // int(number)
        part = torch.stack(recorded[i * size : (i + 1) * size])
        if steps > 1:  # [calls, T * B, units]
            part = part.unflatten(1, (steps, -1)).flatten(0, 1)
        return part


def _rows(activity: Tensor, dim: int, steps: int) -> int:
    """Number of leading dimensions that are samples: time and batch, or one of both."""
    return 2 if steps > 1 and activity.shape[0] == steps and (dim or activity.dim()) > 1 else 1


def _input_sums(activity: Tensor, layer: PrunableLayer, units: int, steps: int) -> Tensor:
    """Sum a layer's input over its map, to [samples, units] in float32."""
    if layer.kind == "linear":
        if steps > 1 and activity.shape[0] == steps and activity.dim() > 2:
            activity = activity.flatten(0, 1)
        return activity.reshape(len(activity), -1, units).sum(1, dtype=torch.float32)
    leading = activity.dim() - len(layer.shape)  # a layer of [T, B, C, ...] has one more
    if leading > 0:
        activity = activity.flatten(0, leading)
    return activity.reshape(len(activity), units, -1).sum(2, dtype=torch.float32)
