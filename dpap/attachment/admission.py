"""Admission: whether a network, a method and the arguments of `attach` fit, before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from dpap.attachment.methods import fresh
from dpap.attachment.probe import LoopProbe, part_of
from dpap.attachment.recording import Hook
from dpap.attachment.shares import Densities

#: Methods whose scores take a unit for a row of the weight.
_ROWS = {
    *("dpap-compete", "dpap-trophic", "fpgm", "nisp", "sd_snn", "upr", "wanda"),
}
_KINDS = (nn.modules.conv._ConvNd, nn.Linear)


def check_arguments(
    pruner: Pruner,
    density: float | Densities | None,
    granularity: str,
    steps: int | None,
    folded: bool = False,
) -> None:
    """Raise ValueError if the arguments of `attach` do not fit together."""
    info = pruner.info
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if folded and steps is None:
        raise ValueError("folded=True needs steps=, the number of time steps in one call")
    if isinstance(density, int | float) and not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], not {density}")
    if granularity == "spatio-temporal" or set(info.granularities) == {"spatio-temporal"}:
        raise ValueError(
            "single time steps cannot be pruned outside the benchmark: use the pruner dpap.DPAP, "
            "with granularity 'structured' or 'hybrid'"
        )
    if granularity not in info.granularities:
        known = ", ".join(info.granularities)
        raise ValueError(f"granularity must be one of {known}, not '{granularity}'")
    if granularity == "none":
        raise ValueError(f"method '{info.name}' prunes nothing: use another method")
    if density is None and not info.emergent:
        raise ValueError(f"method '{info.name}' finds no density of its own: give density=")


def check_layers(network: nn.Module, readouts: Sequence[str], ignored: Sequence[str]) -> None:
    """Raise ValueError if the layers of a network cannot be pruned as they are."""
    if isinstance(network, torch.jit.ScriptModule):
        raise ValueError("the network is a TorchScript module: attach before torch.jit.script")
    for name, parameter in network.named_parameters():
        if parameter.is_meta:
            raise ValueError(
                f"parameter '{name}' is on the device meta and has no values: give it some "
                "(to_empty, then an initialisation or load_state_dict) before attach()"
            )
    layers = {n: m for n, m in network.named_modules() if isinstance(m, _KINDS)}
    _check_names(layers, readouts, ignored)
    _check_weights(layers, {*readouts, *ignored})


def check_hooks(network: nn.Module) -> None:
    """Raise ValueError if another attachment records the network."""
    for module in network.modules():
        for hook in module._forward_hooks.values():
            if isinstance(hook, Hook) and hook.note is not None:
                raise ValueError(
                    "the network is attached already: call detach() of that attachment first, or "
                    "give a new network"
                )


def _check_names(
    layers: Mapping[str, nn.Module], readouts: Sequence[str], ignored: Sequence[str]
) -> None:
    for readout in readouts:
        if readout not in layers:
            raise ValueError(
                f"readout '{readout}' is not one of the network's layers {list(layers)}"
            )
    for path in ignored:
        if not any(name == path or name.startswith(f"{path}.") for name in layers):
            raise ValueError(f"ignore names '{path}', which is not a layer or has none inside")
    if not set(layers) - {*readouts, *ignored}:
        raise ValueError(
            f"there is nothing to prune: '{readouts[0]}' is the only layer"
            if len(layers) == 1
            else "there is nothing to prune: all layers are readouts or ignored"
        )


def _check_weights(layers: Mapping[str, nn.Module], kept: set[str]) -> None:
    owner: dict[int, str] = {}
    for name, module in layers.items():
        lazy = isinstance(module, nn.modules.lazy.LazyModuleMixin)
        if lazy and any(map(nn.parameter.is_lazy, module.parameters())):
            raise ValueError(
                f"layer '{name}' is lazy and has no weight yet: run the network on an example "
                "before attach()"
            )
        if parametrize.is_parametrized(module) or "weight" not in module._parameters:
            raise ValueError(
                f"the weight of layer '{name}' is computed from other parameters: remove its "
                "parametrization (remove_parametrizations) or its masks (prune.remove) first"
            )
        other = owner.setdefault(id(module.weight), name)
        if other != name and not {name, other} <= kept:
            raise ValueError(
                f"layers '{other}' and '{name}' share one weight: give each a weight of its own, "
                f"or pass ignore=['{other}', '{name}']"
            )


def rehearse(
    pruner: Pruner,
    network: nn.Module,
    structure: Structure,
    granularity: Any,
    density: float | None,
    steps: int,
    probe: LoopProbe,
    example: Any,
) -> None:
    """Run a method on a copy of a network, so that it fails now rather than during training.

    Parameters
    ----------
    pruner
        The method; it does not change.
    network
        A copy of the network; its weights change.
    structure
        Layers and groups of the copy.
    granularity, density, steps
        As for the run.
    probe
        Passes of the copy.
    example
        Input of the network.

    Raises
    ------
    ValueError
        If the method fails, or returns masks that do not fit.
    """
    trial, name = fresh(pruner), pruner.info.name
    transposed = [layer.name for layer in structure.layers if layer.transposed]
    if transposed and name in _ROWS:
        raise ValueError(
            f"method '{name}' takes the rows of a weight for its units, and transposed convolution "
            f"'{transposed[0]}' has them in columns: use another method, or pass "
            f"ignore=['{transposed[0]}']"
        )
    generator = torch.Generator().manual_seed(0)
    context = PruneContext(
        structure, granularity, density, generator, steps, probe, learning_rate=lambda _: 1e-3
    )
    try:
        trial.begin(network, context)
        for progress in (0.0, 0.3, 0.6, 1.0):
            if progress:
                _one_batch(trial, network, structure, steps, generator)
            if trial.due(progress):
                masks = trial.masks(progress)
                if masks is not None:
                    _check_masks(masks, structure)
                    masks.project(network)
    except Exception as error:
        text = (str(error).strip().splitlines() or [""])[0]
        if isinstance(error, AttributeError):
            raise ValueError(
                f"method '{name}' reads parts that only the benchmark's own networks have "
                f"({text}): use another method"
            ) from error
        frozen = [x.name for x in structure.layers if not _trained(network, x.weight)]
        if frozen:
            raise ValueError(
                f"method '{name}' cannot prune layer '{frozen[0]}', whose weight is frozen "
                f"(requires_grad=False): pass ignore={frozen}, or use another method"
            ) from error
        raise ValueError(
            f"method '{name}' cannot prune this network ({type(error).__name__}: {text[:120]}): "
            "use another method"
        ) from error


def _one_batch(
    trial: Pruner,
    network: nn.Module,
    structure: Structure,
    steps: int,
    generator: torch.Generator,
) -> None:
    device = next(network.parameters()).device
    if trial.info.needs_activity:
        pairs = {}
        for layer in structure.layers:
            module = network.get_submodule(layer.name)
            inputs: Any = getattr(module, "in_features", None) or module.in_channels
            draw = [torch.rand(steps, 4, n, generator=generator) for n in (inputs, layer.outputs)]
            pairs[layer.name] = (draw[0].to(device), draw[1].to(device))
        trial.observe(Activity(pairs))
    trial.penalty()
    if trial.info.needs_gradients:
        for parameter in network.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.grad = drawn.to(parameter) if parameter.requires_grad else None
        trial.gradients()


def _trained(network: nn.Module, weight: str) -> bool:
    return network.get_parameter(weight).requires_grad


def _check_masks(masks: Masks, structure: Structure) -> None:
    for name, mask in masks.parameters.items():
        wanted = structure.shapes.get(name)
        if wanted is None or tuple(mask.shape) != tuple(wanted):
            raise ValueError(f"mask '{name}' of shape {tuple(mask.shape)} fits no parameter")


def rehearsal_batches(example: Any, classes: int) -> list[tuple[Any, Tensor]]:
    """Batches of the example with made-up labels."""
    given = part_of(example, slice(2))
    samples = len(next(x for x in tree_leaves(given) if isinstance(x, Tensor)))
    return [(given, torch.arange(samples) % classes)]
