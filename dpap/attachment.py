"""DPAP in anybody's own training loop: hooks collect the activity, `update` prunes."""

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

    The network is traced once, in evaluation mode, and left as it was. Convolution and linear
    layers may be anywhere in it; behind each there must be a neuron or activation module
    (`dpap.emitters.NEURONS`), with batch norm, pooling, additions or reshapes between if need be.

    Parameters
    ----------
    network
        Spiking (snnTorch) or artificial. A compiled one is unwrapped; what was compiled before
        is compiled anew, with a graph break at every hook.
    pruner
        ``DPAP()`` or ``DPAP.from_preset(RELEASED)``, say; it keeps the survival of this network.
    example
        One input of ``forward``, [B, ...], on the network's device.
    readout
        Module path of the layer whose outputs are the classes, which is never pruned.
    density
        Target, kept / prunable weights in (0, 1]; None: what survives, survives (emergent).
    granularity
        ``structured`` (channels and neurons) or ``hybrid`` (single weights of linear layers too).
    steps
        Time steps of one batch: how often each layer is called in it; 1 for artificial networks.
    forward
        Runs the network on ``example`` for one time step, if ``network(example)`` does not; of
        several outputs the first tensor counts.
    seed
        Breaks ties between equal survivals.

    Raises
    ------
    ValueError
        If an argument is not as described, no neuron module emits the output of a layer, or a
        unit owns parameters that cannot be cut.

    Notes
    -----
    Everything runs in one process: parallel replicas would each prune in their own way.
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
    torch.compiler.reset()  # what is compiled already would not call the hooks
    return Attachment(network, pruner, structure, found, steps)


class Attachment:
    """DPAP at work on a network; made by `attach`.

    Parameters
    ----------
    network, pruner, structure
        What is trained, who prunes it, and what can be pruned.
    found
        Layer -> the neuron module that emits its output.
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
        self.masks = self._masks_there = Masks()
        self._forget()
        modules = dict(network.named_modules())
        self._hooks = []
        for layer in structure.layers:
            emitter = found[layer.name]
            for name, hook in (
                (layer.name, partial(self._input, layer)),
                (emitter.neuron, partial(self._output, layer, emitter)),
            ):
                self._hooks.append(modules[name].register_forward_hook(_eager(hook)))

    @property
    def density(self) -> float:
        """Kept / prunable weights."""
        return self.structure.density(self.masks)

    def update(self, progress: float, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Take in the batch since the last update, prune when due, and enforce the masks.

        Call it after every batch, behind the optimizer step if there is one (gradients may
        accumulate over several batches). Passes in evaluation mode do not count.

        Parameters
        ----------
        progress
            Part of the training that is done, in [0, 1].
        optimizer
            Its momenta of masked weights are cleared; without, they can bring these back for
            the next forward pass.

        Raises
        ------
        ValueError
            If progress is outside [0, 1], or a layer did not run `steps` times.
        RuntimeError
            After `detach` or `compact`.
        """
        if not self._hooks:
            raise RuntimeError("update() after detach() or compact(): attach to the network again")
        if not 0 <= progress <= 1:
            raise ValueError(f"progress must be in [0, 1], not {progress}")
        if not self.pruner.finished:
            self.pruner.observe(self._activity())
        self._forget()
        masks = self.pruner.masks(progress)
        if masks is not None:
            self.masks = masks
            self._masks_there = masks.to(next(self.network.parameters()).device)
        self._masks_there.project(self.network, optimizer)

    def detach(self) -> None:
        """Remove the hooks; weights pruned so far are zero, but no longer held there."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._forget()
        torch.compiler.reset()  # what is compiled keeps the breaks that hooks made

    def compact(self) -> None:
        """Remove the hooks, and cut dead units out of the network's layers, in place.

        The outputs in evaluation mode stay those of the masked network. Optimizers made before
        are stale afterwards: they hold the old parameters.
        """
        if self._hooks:
            self.detach()
            remove_units(self.structure, self.masks)

    def _forget(self) -> None:
        self._inputs: dict[str, list[Tensor]] = {x.name: [] for x in self.structure.layers}
        self._outputs: dict[str, list[Tensor]] = {x.name: [] for x in self.structure.layers}
        self._calls = dict.fromkeys(self._inputs, 0)

    def _counts(self) -> bool:
        return self.network.training and not self.pruner.finished

    def _input(
        self, layer: PrunableLayer, module: nn.Module, arguments: tuple[Any, ...], output: Any
    ) -> None:
        """Keep what a layer reads."""
        if self._counts():
            units = module.in_features if isinstance(module, nn.Linear) else module.in_channels
            assert isinstance(units, int)
            self._inputs[layer.name].append(_per_unit(arguments[0], layer, units))

    def _output(
        self,
        layer: PrunableLayer,
        emitter: Emitter,
        module: nn.Module,
        arguments: tuple[Any, ...],
        output: Any,
    ) -> None:
        """Keep what the neurons behind a layer emit."""
        if self._counts():
            if emitter.emits(self._calls[layer.name]):
                emitted = _per_unit(first_tensor(output), layer, layer.shape[0])
                self._outputs[layer.name].append(emitted)
            self._calls[layer.name] += 1

    def _activity(self) -> Activity:
        """Return what the layers read and emitted since the last update."""
        activity = {}
        for name, inputs in self._inputs.items():
            outputs = self._outputs[name]
            if not len(inputs) == len(outputs) == self.steps:
                raise ValueError(
                    f"layer '{name}' ran {len(inputs)} times in training mode since the last "
                    f"update, and its neurons {len(outputs)} times, not steps={self.steps} times"
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
    """Raise ValueError for what cannot work."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    layers = [layer.name for layer in prunable_layers(network, "")]
    if readout not in layers:
        raise ValueError(f"readout '{readout}' is none of the network's layers {layers}")
    if len(layers) == 1:
        raise ValueError(f"there is nothing to prune: '{readout}' is the only layer")
    if density is not None and not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], not {density}")
    if "spatio-temporal" in (granularity, *pruner.info.granularities):
        raise ValueError("single time steps cannot be pruned outside the benchmark: use dpap.DPAP")
    if granularity not in pruner.info.granularities:
        known = ", ".join(pruner.info.granularities)
        raise ValueError(f"granularity must be one of {known}, not '{granularity}'")


def _eager(hook: Hook) -> Hook:
    """Keep a hook out of compiled graphs, which would be specialised on every length."""
    eager: Hook = torch.compiler.disable(torch.no_grad()(hook))
    return eager


def _per_unit(activity: Tensor, layer: PrunableLayer, units: int) -> Tensor:
    """Sum maps, [B, units, ...] or flattened, to [B, units], in float32.

    DPAP counts a channel as one population (`baselines.shared.activity`), and sums are small to
    keep and safe from operations in place. A linear layer may have other dimensions before units.
    """
    if layer.kind == "linear":
        return activity.reshape(len(activity), -1, units).sum(1, dtype=torch.float32)
    return activity.reshape(len(activity), units, -1).sum(2, dtype=torch.float32)
