"""Any method in any training loop: hooks record the activity, and `Attachment.update` prunes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from baselines.shared.contract import Granularity, PruneContext, Pruner
from baselines.shared.groups import Structure, parameter_shapes, prunable_layers
from baselines.shared.masks import Masks
from dpap.attachment.admission import (
    check_arguments,
    check_hooks,
    check_layers,
    rehearsal_batches,
    rehearse,
)
from dpap.attachment.copies import at_rest, copy_of
from dpap.attachment.methods import build_method, unused
from dpap.attachment.probe import LoopProbe, Loss, Saliency, Scores, default_scores
from dpap.attachment.proof import proven_units, quiet
from dpap.attachment.recording import Place, Recorder, find_places
from dpap.attachment.saved import pruner_state, restore_pruner
from dpap.attachment.shares import Densities, Several, layer_densities
from dpap.attachment.surgery import cut_units
from dpap.attachment.units import Units, find_units, not_called, trace_network
from dpap.emitters import emitters, undisturbed


def _call(network: nn.Module, example: Any) -> Any:
    if isinstance(example, dict):
        return network(**example)
    return network(*example) if isinstance(example, tuple | list) else network(example)


def attach(
    network: nn.Module,
    pruner: Pruner | str,
    *,
    example: Any,
    readout: str | Sequence[str],
    density: float | Densities | None = None,
    granularity: Granularity | None = None,
    steps: int | None = None,
    forward: Callable[[nn.Module, Any], Any] = _call,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    ignore: Sequence[str] = (),
    neurons: Sequence[type[nn.Module] | str] = (),
    folded: bool = False,
    variable: bool = False,
    saliency: Saliency | None = None,
    scores: Scores | None = None,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> Attachment:
    """Let a method prune a network while your own loop trains it.

    A copy of the network is traced in evaluation mode; the network itself does not change, unless
    the method prunes before training. On this copy `attach` proves that units can be removed:
    random units die, and the compacted copy must compute what the masked one does. The method is
    rehearsed on a copy too. What would fail later is refused now.

    Parameters
    ----------
    network
        A spiking or an artificial network. A compiled network and a data-parallel one are
        unwrapped. Hooks break compiled graphs, so the network is compiled again at its next call.
    pruner
        Name of an installed method, or a pruner such as ``DPAP()``. A pruner that has begun on
        another network is built again with the same hyper-parameters.
    example
        One input of ``forward``, [B, ...], on the network's device; for several inputs a tuple, or
        a dict by the names of the arguments.
    readout
        Module paths of the layers whose outputs are the classes. They are never pruned.
    density
        Target density, kept / prunable weights, in (0, 1]. None: the density is emergent, which
        few methods can. A dict gives densities to layers by their paths, or to all layers inside
        a module; other layers are not pruned. If units are pruned, the density of a layer is the
        share of its units that are kept.
    granularity
        ``structured`` prunes channels and neurons, ``unstructured`` single weights, ``hybrid``
        both. None: ``structured`` if the method can, else its first one.
    steps
        Time steps of one batch, that is, how often each layer is called per batch. None: as often
        as in one call of ``forward``.
    forward
        Runs the network on ``example``, for one time step or for all. Give it if
        ``network(example)`` does not.
    seed
        Seed of the random numbers of the method.
    options
        Hyper-parameters of a method that is given by name.
    ignore
        Module paths of layers, or of modules with layers inside, that are not pruned. Layers whose
        units are tied to theirs are not pruned either. None of them counts in the density.
    neurons
        Types or paths of further modules whose output is the activity of the layers before them.
        Without a neuron module, the absolute input of the next layer is the activity.
    folded
        Whether each call passes all time steps, as [T, B, ...] or [T * B, ...]. Needs `steps`.
    variable
        Whether the number of time steps differs between batches. Then all calls since the last
        update are one batch.
    saliency
        Batches (inputs, labels) of training samples, or a function that returns some, for methods
        that compute saliencies.
    scores
        Class scores, [B, classes], of a batch of `saliency`. None: the first output of ``forward``,
        summed over the time steps, with snnTorch's neurons at rest before.
    loss
        Loss of each sample, [B], from scores and labels. None: cross-entropy.
    optimizer
        The optimizer, for methods that prune before training and need its learning rate.

    Returns
    -------
    Attachment
        Call its method `update` after every batch.

    Raises
    ------
    ValueError
        If an argument is not as described, if units cannot be removed, or if the method cannot
        prune this network. The message names the layer and what to do.
    """
    network = getattr(network, "_orig_mod", network)
    if isinstance(network, nn.parallel.DistributedDataParallel | nn.DataParallel):
        network = network.module
    made = build_method(pruner, dict(options or {})) if isinstance(pruner, str) else unused(pruner)
    chosen = granularity or _granularity(made)
    readouts = (readout,) if isinstance(readout, str) else tuple(readout)
    check_arguments(made, density, chosen, steps, folded)
    inside = tuple(name for path in ignore for name in _layers_in(network, path)) or tuple(ignore)
    check_layers(network, readouts, inside)
    check_hooks(network)
    kept = (*readouts, *inside)
    units = _units(network, example, forward, kept, chosen)
    if isinstance(density, Mapping):
        made, density = Several(made, layer_densities(units.structure, density)), None
    places, passes, stateful = _places(network, units, example, forward, neurons, steps, folded)
    time = steps or max((p.calls * passes for p in places), default=1)
    score = scores or default_scores(forward, passes)
    _rehearse(made, network, units, example, forward, kept, chosen, density, time, score, loss)
    probe = LoopProbe(network, saliency, score, loss, example, made.info.name)
    recorder = Recorder(
        network,
        places if made.info.needs_activity else (),
        0 if variable else passes,
        time if folded else 1,
    )
    handle = Attachment(network, made, units, recorder, time, steps is not None or not stateful)
    handle._optimizer = None if optimizer is None else weakref.ref(optimizer)
    generator = torch.Generator().manual_seed(seed)
    made.begin(
        network,
        PruneContext(
            units.structure, chosen, density, generator, time, probe, handle._learning_rate
        ),
    )
    torch.compiler.reset()  # graphs compiled before do not call the hooks
    handle.restarts = made.restarts()
    if made.due(0.0):
        handle._apply(handle._shared(made.masks(0.0)), optimizer)
    return handle


def _granularity(pruner: Pruner) -> Granularity:
    known = pruner.info.granularities
    return "structured" if "structured" in known else known[0]


def _layers_in(network: nn.Module, path: str) -> list[str]:
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, kinds) and (name == path or name.startswith(f"{path}."))
    ]


def _units(
    network: nn.Module,
    example: Any,
    forward: Callable[..., Any],
    kept: tuple[str, ...],
    chosen: str,
) -> Units:
    """Units of the network, proven; for single weights the layers only."""
    if chosen != "unstructured":
        return proven_units(network, example, forward, kept)
    with quiet(network):
        trace, _ = trace_network(copy_of(network), example, forward)
    layers = tuple(x for x in prunable_layers(network, "") if x.name not in kept)
    for layer in layers:
        if layer.name not in trace.inputs:
            raise ValueError(not_called(layer.name))
    return Units(Structure(layers, parameter_shapes(network)), (), {}, {}, trace)


def _places(
    network: nn.Module,
    units: Units,
    example: Any,
    forward: Callable[..., Any],
    neurons: Sequence[type[nn.Module] | str],
    steps: int | None,
    folded: bool,
) -> tuple[list[Place], int, bool]:
    """Where the activity is recorded, passes per batch, and whether the network has states."""
    names = [layer.name for layer in units.structure.layers]
    copy = copy_of(network)
    at_rest(copy)
    with quiet(copy), undisturbed(copy):
        found = emitters(copy, names, lambda: forward(copy, example), tuple(neurons))
        places = find_places(units, found, steps if folded else None)
    calls = max((place.calls for place in places), default=1)
    passes = 1 if folded or steps is None else max(1, steps // calls)
    return places, passes, units.stateful


def _rehearse(
    pruner: Pruner,
    network: nn.Module,
    units: Units,
    example: Any,
    forward: Callable[..., Any],
    kept: tuple[str, ...],
    granularity: Granularity,
    density: float | None,
    steps: int,
    scores: Scores,
    loss: Loss | None,
) -> None:
    copy = copy_of(network)
    structure = units.structure
    if units.cuts:
        structure = find_units(copy, units.trace, units.states, kept).structure
    with quiet(copy):
        batches = rehearsal_batches(example, 2)
        probe = LoopProbe(copy, batches, scores, loss, example, pruner.info.name)
        rehearse(pruner, copy, structure, granularity, density, steps, probe, example)


class Attachment:
    """The connection between a network and the method that prunes it; made by `attach`.

    Parameters
    ----------
    network
        The network that is trained.
    pruner
        Its pruner.
    units
        Its layers, its unit groups and what they own.
    recorder
        Records the activity.
    steps
        Time steps of one batch.
    sure
        Whether more forward passes than one batch needs are more batches.
    """

    def __init__(
        self,
        network: nn.Module,
        pruner: Pruner,
        units: Units,
        recorder: Recorder,
        steps: int,
        sure: bool,
    ) -> None:
        self.network = network
        self.pruner = pruner
        self.units = units
        self.steps = steps
        self.masks = self._device_masks = Masks()
        self._device = next(network.parameters()).device
        self.restarts: tuple[float, ...] = ()
        self.attached = True
        self._recorder = recorder
        self._sure = sure
        self._progress = 0.0
        self._compacted = False
        self._optimizer: weakref.ref[torch.optim.Optimizer] | None = None
        self._penalised = self._read_gradients = False

    @property
    def structure(self) -> Structure:
        """Prunable layers and unit groups."""
        return self.units.structure

    @property
    def density(self) -> float:
        """Density now: kept / prunable weights, in [0, 1]."""
        return self.structure.density(self.masks)

    @property
    def widths(self) -> dict[str, int]:
        """Group name -> number of kept units."""
        sizes = {group.name: group.size for group in self.structure.groups}
        return sizes | {name: int(kept.sum()) for name, kept in self.masks.units.items()}

    def penalty(self) -> Tensor:
        """Return the method's penalty, a scalar to add to the loss before ``backward``."""
        self._penalised = True
        penalty = self.pruner.penalty()
        return next(self.network.parameters()).new_zeros(()) if penalty is None else penalty

    def gradients(self) -> None:
        """Let the method read the gradients.

        `update` does so too. Call it after ``backward`` only if the loop clears the gradients
        before `update`. Gradients that are infinite or NaN, as mixed precision may have them, are
        not read.
        """
        self._read_gradients = True
        if _finite(self.network):
            self.pruner.gradients()

    def skip(self) -> None:
        """Forget the passes since the last update, for a batch that was given up half-way."""
        self._recorder.clear()
        self._penalised = self._read_gradients = False

    def update(self, progress: float, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Record the batches since the last update, prune if that is due, and apply the masks.

        Call it after every batch, after the optimizer step if there is one. Gradients may
        accumulate over several batches, and a closure may run the network several times.
        Forward passes in evaluation mode are not recorded.

        Parameters
        ----------
        progress
            Share of the training that is done, in [0, 1].
        optimizer
            The optimizer of the network. Its state of masked weights is cleared. Without it,
            momentum can make masked weights nonzero in the forward pass before the next update.

        Raises
        ------
        ValueError
            If progress is outside [0, 1] or goes back, the layers did not run as often as `steps`
            says, or the method needs gradients or a penalty that it did not get.
        RuntimeError
            If `detach` or `compact` was called before.
        """
        if not self.attached:
            raise RuntimeError(
                "update() was called after detach() or compact(): attach to the network again"
            )
        if not self._progress <= progress <= 1:
            raise ValueError(
                f"progress must be in [0, 1] and must not go back: it is {progress}, and was "
                f"{self._progress}"
            )
        if optimizer is not None:
            self._optimizer = weakref.ref(optimizer)
        finished = getattr(self.pruner, "finished", False)
        if not finished:
            self._feed()
        self._recorder.clear()
        self._penalised = self._read_gradients = False
        for restart in self.restarts:
            if self._progress < restart <= progress and optimizer is not None:
                optimizer.state.clear()
        self._progress = progress
        masks = self.pruner.masks(progress) if self.pruner.due(progress) else None
        self._apply(self._shared(masks), optimizer)
        self._recorder.recording = not getattr(self.pruner, "finished", False)

    def _feed(self) -> None:
        """Give the method what it needs of the batches since the last update."""
        info = self.pruner.info
        if info.needs_activity:
            for activity in self._recorder.batches(self._sure):
                self.pruner.observe(activity)
        if info.needs_gradients and not self._read_gradients:
            if all(p.grad is None for p in self.network.parameters()):
                raise ValueError(
                    f"method '{info.name}' reads gradients, and there are none: call update() "
                    "before zero_grad(), or gradients() after backward()"
                )
            self.gradients()
        method = self.pruner.method if isinstance(self.pruner, Several) else self.pruner
        if type(method).penalty is not Pruner.penalty and not self._penalised:
            raise ValueError(
                f"method '{info.name}' has a penalty: add penalty() of the attachment to the loss"
            )

    def _shared(self, masks: Masks | None) -> Masks | None:
        """Let all processes of a distributed training use masks and weights of the first one."""
        distributed = torch.distributed
        if not (distributed.is_available() and distributed.is_initialized()):
            return masks
        box = [masks]
        distributed.broadcast_object_list(box, src=0)
        if box[0] is not None:  # a method may have changed weights, at random too
            for parameter in self.network.parameters():
                distributed.broadcast(parameter.data, src=0)
        return box[0]

    def _apply(self, masks: Masks | None, optimizer: torch.optim.Optimizer | None) -> None:
        device = next(self.network.parameters()).device
        if masks is not None:
            self.masks = masks
        if masks is not None or device != self._device:
            self._device, self._device_masks = device, self.masks.to(device)
        self._device_masks.project(self.network, optimizer)

    def _learning_rate(self, progress: float) -> float:
        optimizer = self._optimizer() if self._optimizer is not None else None
        if optimizer is None:
            raise ValueError(
                f"method '{self.pruner.info.name}' needs the learning rate: give the optimizer to "
                "attach() and update()"
            )
        return float(optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """State of the method and the masks, to go on later or elsewhere.

        It has tensors, numbers and strings only, so ``torch.load`` accepts it. Save the state of
        the network and of the optimizer besides.
        """
        masks = {key: dict(getattr(self.masks, key)) for key in ("parameters", "units", "steps")}
        return {
            "method": self.pruner.info.name,
            "progress": self._progress,
            "masks": masks,
            "generator": self.pruner.context.generator.get_state(),
            "pruner": pruner_state(self.pruner, self.network),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state of `state_dict`, and apply its masks.

        Parameters
        ----------
        state
            From an attachment of the same method to a network of the same shapes.

        Raises
        ------
        ValueError
            If the state belongs to another method or network.
        RuntimeError
            If `detach` or `compact` was called before.
        """
        if not self.attached:
            raise RuntimeError(
                "load_state_dict() was called after detach() or compact(): attach to the network "
                "again"
            )
        name = self.pruner.info.name
        if state["method"] != name:
            raise ValueError(f"the state belongs to method '{state['method']}', not to '{name}'")
        masks = Masks(**state["masks"])
        for key, mask in masks.parameters.items():
            if self.structure.shapes.get(key) != tuple(mask.shape):
                raise ValueError(f"the state belongs to another network: '{key}' does not fit")
        restore_pruner(self.pruner, self.network, state["pruner"])
        self.pruner.context.generator.set_state(state["generator"])
        self._progress = state["progress"]
        self._recorder.clear()
        self._recorder.recording = not getattr(self.pruner, "finished", False)
        self._apply(masks, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Attachment:
        """Copy the attachment with its network; the copy records and prunes for itself."""
        import copy

        network = copy_of(self.network) if id(self.network) not in memo else memo[id(self.network)]
        memo[id(self.network)] = network
        cleaned = [m for m in network.modules() if m._forward_hooks]
        for module in cleaned:
            _drop_inert(module)
        structure = self.structure
        if self.units.cuts:
            structure = find_units(
                network, self.units.trace, self.units.states, self.units.kept
            ).structure
        units = replace(self.units, structure=structure)
        old = self._recorder
        recorder = Recorder(network, old.places, old.passes, old.steps)
        pruner = unused(self.pruner)
        handle = Attachment(network, pruner, units, recorder, self.steps, self._sure)
        handle.restarts = self.restarts
        context = self.pruner.context
        probe = copy.copy(context.probe)
        if isinstance(probe, LoopProbe):
            probe.network = network
        generator = torch.Generator()
        context = replace(context, structure=structure, generator=generator, probe=probe)
        pruner.begin(network, replace(context, learning_rate=handle._learning_rate))
        handle.load_state_dict(copy.deepcopy(self.state_dict()))
        if not self.attached:
            handle.detach()
        return handle

    def detach(self) -> None:
        """Remove the hooks. Pruned weights are zero now, but further training can change them."""
        self._recorder.remove()
        self.attached = False
        torch.compiler.reset()  # graphs compiled before keep the breaks at the hooks

    def compact(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Remove the hooks, and remove pruned units from the network's layers, in place.

        In evaluation mode the outputs stay those of the masked network. Parameters stay the same
        objects, so an optimizer goes on: its state is cut too.

        Parameters
        ----------
        optimizer
            An optimizer of the network. None: the one that `update` got last.

        Raises
        ------
        ValueError
            If weights that the masks remove are not zero, because weights of another moment were
            loaded, or the network was trained after `detach`. Then nothing is removed.
        """
        if self._compacted:
            return
        parameters = dict(self.network.named_parameters())
        for name, mask in self.masks.parameters.items():
            if bool((parameters[name].detach()[~mask.to(parameters[name].device)] != 0).any()):
                raise ValueError(
                    f"'{name}' has weights where the masks have none: weights of another moment "
                    "were loaded, or it was trained after detach(); load the state_dict() of the "
                    "attachment of that moment too"
                )
        remembered = self._optimizer() if self._optimizer is not None else None
        self.detach()
        self._compacted = True
        self._cut(self.network, optimizer or remembered)

    def compact_copy(self, network: nn.Module) -> None:
        """Mask a copy of the network, such as its moving average, and remove pruned units from it.

        Call it before or after `compact`.

        Parameters
        ----------
        network
            A copy that has the dense shapes, changed in place.
        """
        self._device_masks.project(network)
        self._cut(network, None)

    def _cut(self, network: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
        cut_units(network, self.units.cuts, self.units.counted, self.masks.units, optimizer)


def _finite(network: nn.Module) -> bool:
    """Whether all gradients are finite numbers."""
    gradients = (p.grad for p in network.parameters() if p.grad is not None)
    sums = [g.sum().double() for g in gradients if g.layout == torch.strided]
    return all(bool(torch.isfinite(x)) for x in sums)


def _drop_inert(module: nn.Module) -> None:
    from dpap.attachment.recording import Hook

    for key, hook in list(module._forward_hooks.items()):
        if isinstance(hook, Hook) and hook.note is None:
            del module._forward_hooks[key]
