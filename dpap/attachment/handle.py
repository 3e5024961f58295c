"""DPAP for any training loop: hooks record the activity, and `Attachment.update` prunes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.contract import Granularity, PruneContext
from baselines.shared.dependency_graph import remove_units, unit_structure
from baselines.shared.groups import PrunableLayer, Structure, prunable_layers
from baselines.shared.masks import Masks
from dpap.emitters import Emitter, emitters, first_tensor, undisturbed
from dpap.pruner import DPAP

Hook = Callable[[nn.Module, tuple[Any, ...], Any], None]


def attach(
    network: nn.Module,
    pruner: DPAP,
    *,
    example: Tensor,
    readout: str,
    density: float | None = None,
    granularity: Granularity = "structured",
    steps: int = 1,
    forward: Callable[[nn.Module, Tensor], Any] = nn.Module.__call__,
    seed: int = 0,
) -> Attachment:
    """Let DPAP prune a network while your own loop trains it.

    The network is traced once, in evaluation mode; its state does not change. Its convolution and
    linear layers may be anywhere in it. The output of each must reach a neuron or activation module
    (`dpap.emitters.NEURONS`), directly or through batch norm, pooling, additions and reshapes.

    Parameters
    ----------
    network
        A spiking network (snnTorch) or an artificial one. A compiled network is unwrapped. Hooks
        break compiled graphs, so the network is compiled again at its next call.
    pruner
        For example ``DPAP()`` or ``DPAP.from_preset(RELEASED)``. Its state belongs to this network
        afterwards, so use a new pruner for each network.
    example
        One input of ``forward``, [B, ...], on the network's device.
    readout
        Module path of the layer whose outputs are the classes. It is never pruned.
    density
        Target density, kept / prunable weights, in (0, 1]. None: the density is emergent, that is,
        survival alone decides.
    granularity
        ``structured`` prunes channels and neurons; ``hybrid`` also prunes single weights of linear
        layers.
    steps
        Time steps of one batch, that is, how often each layer is called per batch; 1 for
        artificial networks.
    forward
        Runs the network on ``example`` for one time step. Give it if ``network(example)`` does
        not. Of several outputs, the first tensor is used.
    seed
        Seed of the tie-break between equal survivals.

    Returns
    -------
    Attachment
        Call its method `update` after every batch.

    Raises
    ------
    ValueError
        If an argument is not as described, if the output of a layer reaches no neuron module, or if
        a unit owns parameters that cannot be removed.

    Notes
    -----
    Use it in one process only: parallel replicas would each select their own masks.
    """
    network = getattr(network, "_orig_mod", network)
    _check(network, pruner, readout, density, granularity, steps)
    names = [layer.name for layer in prunable_layers(network, readout)]
    with undisturbed(network):
        found = emitters(network, names, lambda: forward(network, example))
    with undisturbed(network):
        structure = unit_structure(
            network, readout, example, lambda net, x: first_tensor(forward(net, x))
        )
    generator = torch.Generator().manual_seed(seed)
    pruner.begin(network, PruneContext(structure, granularity, density, generator, steps))
    torch.compiler.reset()  # graphs compiled before do not call the hooks
    return Attachment(network, pruner, structure, found, steps)


class Attachment:
    """The connection between a network and its DPAP pruner; made by `attach`.

    Parameters
    ----------
    network
        The network that is trained.
    pruner
        Its pruner, already begun.
    structure
        Its prunable layers and unit groups.
    found
        Layer name -> the neuron module that emits the layer's output.
    steps
        Time steps of one batch.
    """

    def __init__(
        self,
        network: nn.Module,
        pruner: DPAP,
        structure: Structure,
        found: dict[str, Emitter],
        steps: int,
    ) -> None:
        self.network = network
        self.pruner = pruner
        self.structure = structure
        self.steps = steps
        self.masks = self._device_masks = Masks()
        self._clear_activity()
        modules = dict(network.named_modules())
        self._hooks = []
        for layer in structure.layers:
            emitter = found[layer.name]
            for name, hook in (
                (layer.name, partial(self._record_input, layer)),
                (emitter.neuron, partial(self._record_output, layer, emitter)),
            ):
                self._hooks.append(modules[name].register_forward_hook(_eager(hook)))

    @property
    def density(self) -> float:
        """Density now: kept / prunable weights, in [0, 1]."""
        return self.structure.density(self.masks)

    def update(self, progress: float, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Record the batch since the last update, prune if an update is due, and apply the masks.

        Call it after every batch. Call it after the optimizer step if the batch has one; gradients
        may accumulate over several batches. Forward passes in evaluation mode are not recorded.

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
            If progress is outside [0, 1], or a layer did not run `steps` times since the last
            update.
        RuntimeError
            If `detach` or `compact` was called before.
        """
        if not self._hooks:
            raise RuntimeError(
                "update() was called after detach() or compact(): attach to the network again"
            )
        if not 0 <= progress <= 1:
            raise ValueError(f"progress must be in [0, 1], not {progress}")
        if not self.pruner.finished:
            self.pruner.observe(self._activity())
        self._clear_activity()
        masks = self.pruner.masks(progress)
        if masks is not None:
            self.masks = masks
            self._device_masks = masks.to(next(self.network.parameters()).device)
        self._device_masks.project(self.network, optimizer)

    def detach(self) -> None:
        """Remove the hooks. Pruned weights are zero now, but further training can change them."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._clear_activity()
        torch.compiler.reset()  # graphs compiled before keep the breaks at the hooks

    def compact(self) -> None:
        """Remove the hooks, and remove pruned units from the network's layers, in place.

        In evaluation mode the outputs stay those of the masked network. Make a new optimizer
        afterwards: an existing one still holds the old parameters.
        """
        if self._hooks:
            self.detach()
            remove_units(self.structure, self.masks)

    def _clear_activity(self) -> None:
        self._inputs: dict[str, list[Tensor]] = {x.name: [] for x in self.structure.layers}
        self._outputs: dict[str, list[Tensor]] = {x.name: [] for x in self.structure.layers}
        self._calls = dict.fromkeys(self._inputs, 0)

    def _recording(self) -> bool:
        return self.network.training and not self.pruner.finished

    def _record_input(
        self, layer: PrunableLayer, module: nn.Module, arguments: tuple[Any, ...], output: Any
    ) -> None:
        """Forward hook of a layer: record its input."""
        if self._recording():
            units = module.in_features if isinstance(module, nn.Linear) else module.in_channels
            assert isinstance(units, int)
            self._inputs[layer.name].append(_per_unit(arguments[0], layer, units))

    def _record_output(
        self,
        layer: PrunableLayer,
        emitter: Emitter,
        module: nn.Module,
        arguments: tuple[Any, ...],
        output: Any,
    ) -> None:
        """Forward hook of the neuron module behind a layer: record the layer's neuron output."""
        if self._recording():
            if emitter.emits(self._calls[layer.name]):
                emitted = _per_unit(first_tensor(output), layer, layer.shape[0])
                self._outputs[layer.name].append(emitted)
            self._calls[layer.name] += 1

    def _activity(self) -> Activity:
        """Return the recorded inputs and outputs of all layers since the last update."""
        activity = {}
        for name, inputs in self._inputs.items():
            outputs = self._outputs[name]
            if not len(inputs) == len(outputs) == self.steps:
                raise ValueError(
                    f"layer '{name}' ran {len(inputs)} times in training mode since the last "
                    f"update, and its neurons {len(outputs)} times, not steps={self.steps} times: "
                    "call update() once after every batch, and attach() with the right steps"
                )
            activity[name] = (torch.stack(inputs), torch.stack(outputs))
        return Activity(activity)


def _check(
    network: nn.Module,
    pruner: DPAP,
    readout: str,
    density: float | None,
    granularity: str,
    steps: int,
) -> None:
    """Raise ValueError if the arguments of `attach` do not fit together."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    layers = [layer.name for layer in prunable_layers(network, "")]
    if readout not in layers:
        raise ValueError(f"readout '{readout}' is not one of the network's layers {layers}")
    if len(layers) == 1:
        raise ValueError(f"there is nothing to prune: '{readout}' is the only layer")
    if density is not None and not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], not {density}")
    if "spatio-temporal" in (granularity, *pruner.info.granularities):
        raise ValueError(
            "single time steps cannot be pruned outside the benchmark: use the pruner dpap.DPAP, "
            "with granularity 'structured' or 'hybrid'"
        )
    if granularity not in pruner.info.granularities:
        known = ", ".join(pruner.info.granularities)
        raise ValueError(f"granularity must be one of {known}, not '{granularity}'")


def _eager(hook: Hook) -> Hook:
    """Exclude a hook from compiled graphs, which would be specialised on the number of batches."""
    eager: Hook = torch.compiler.disable(torch.no_grad()(hook))
    return eager


def _per_unit(activity: Tensor, layer: PrunableLayer, units: int) -> Tensor:
    """Sum activity over feature maps, to [B, units] in float32.

    DPAP counts a channel as one population (`baselines.shared.activity`). Besides, sums need little
    memory, and in-place operations of the network do not change them.

    Parameters
    ----------
    activity
        [B, units, ...map], or the same with flattened maps. For a linear layer [B, ..., units].
    layer
        The layer that reads or produces the activity.
    units
        Number of units.
    """
    if layer.kind == "linear":
        return activity.reshape(len(activity), -1, units).sum(1, dtype=torch.float32)
    return activity.reshape(len(activity), units, -1).sum(2, dtype=torch.float32)
