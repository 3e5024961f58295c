"""Neurons of snnTorch as nodes of NIR."""

from __future__ import annotations

from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from dpap.export.affine import affine
from dpap.export.nodes import (
    DT,
    Array,
    Membrane,
    Piece,
    Shape,
    nir,
    reset_by_subtraction,
    reset_to_zero,
    weights_node,
)

_SYNAPTIC = (snntorch.Synaptic, snntorch.RSynaptic)
_RECURRENT = (snntorch.RLeaky, snntorch.RSynaptic)
#: Neurons that can be reset in the step of their spike.
_AT_ONCE = (snntorch.Leaky, snntorch.RLeaky, snntorch.Synaptic)
_KNOWN = (snntorch.Leaky, snntorch.Lapicque, *_SYNAPTIC, *_RECURRENT)


def neurons(name: str, module: Any, shape: Shape) -> Piece:
    """Return the nodes of a layer of neurons.

    Parameters
    ----------
    name
        Path of the module.
    module
        Neurons of snnTorch.
    shape
        Shape of one sample.

    Raises
    ------
    ValueError
        If NIR has no nodes that do the same.
    """
    reason = _refusal(module)
    if reason:
        raise ValueError(f"NIR cannot describe module '{name}': {reason}")
    membrane = _membrane(name, module, shape)
    reset = module.reset_mechanism
    if isinstance(module, _SYNAPTIC):
        piece = _with_synapse(name, module, membrane, shape)
    elif reset == "zero":
        piece = reset_to_zero(name, membrane)
    else:
        piece = reset_by_subtraction(name, membrane, reset == "subtract")
    if isinstance(module, _RECURRENT):
        _feed_back(name, module, piece, shape)
    return piece


def _refusal(module: Any) -> str | None:
    """Why there is no node that does the same, or None."""
    kind = type(module)
    if kind not in _KNOWN:
        return f"there is no node for neurons of type {kind.__name__}"
    if module.inhibition or module.state_quant:
        return "it has lateral inhibition or a quantised state"
    if bool((torch.as_tensor(module.graded_spikes_factor) != 1).any()):
        return "its spikes are graded"
    probe = torch.tensor([-1.0, -1e-3, 0.0, 1e-3, 1.0])
    spikes = module.spike_grad(probe.to(module.threshold.device)).cpu()
    if not torch.equal(spikes.float(), (probe > 0).float()):
        return "it does not spike strictly above its threshold"
    return _refused_reset(module)


def _refused_reset(module: Any) -> str | None:
    """Why its reset is that of no node, or None."""
    kind, reset = type(module), module.reset_mechanism
    at_once = not getattr(module, "reset_delay", True)
    if reset == "subtract" and at_once:
        return "it subtracts its threshold at once: use reset_delay=True"
    if reset == "zero" and at_once and bool((module.threshold < 0).any()):
        return "its threshold is negative"
    if reset == "zero" and not at_once and kind is not snntorch.Leaky:
        return (
            "it loses the input of the step after a spike, because it is set to zero one step "
            "late: use reset_mechanism='subtract'"
            + (", or reset_delay=False" if kind in _AT_ONCE else "")
        )
    return None


def _full(value: Any, shape: Shape) -> Array:
    """A constant of the neurons at each element of a sample."""
    x: Tensor = torch.as_tensor(value).detach().cpu().double()
    return np.array(x.expand(1, *shape)[0].numpy())


def _checked(name: str, membrane: Membrane) -> Membrane:
    """Refuse a leak of some neurons only, and a constant input without a leak."""
    reason = ""
    if membrane.leaky and bool((membrane.decay == 1).any()):
        reason = "only some of its neurons leak"
    elif not membrane.leaky and bool(membrane.drive.any()):
        reason = "its recurrent layer has a bias, and there is no leak"
    if reason:
        raise ValueError(f"NIR cannot describe module '{name}': {reason}")
    return membrane


def _membrane(name: str, module: Any, shape: Shape) -> Membrane:
    threshold = _full(module.threshold, shape)
    if isinstance(module, snntorch.Lapicque):
        step = module.time_step.double()
        decay = 1 - _full(step / (module.R.double() * module.C.double()), shape)
        gain = _full(step / module.C.double(), shape)
    else:
        decay, gain = _full(module.beta.clamp(0, 1), shape), np.ones(shape)
    drive = np.zeros(shape)
    if isinstance(module, snntorch.RLeaky):
        drive = drive + _recurrent_bias(module, shape)
    return _checked(name, Membrane(decay, gain, threshold, drive))


def _with_synapse(name: str, module: Any, membrane: Membrane, shape: Shape) -> Piece:
    """Neurons with a synaptic current."""
    decay = _full(module.alpha.clamp(0, 1), shape)
    drive = np.zeros(shape)
    if isinstance(module, snntorch.RSynaptic):
        drive = drive + _recurrent_bias(module, shape)
    synapse = _checked(name, Membrane(decay, np.ones(shape), membrane.threshold, drive))
    if module.reset_mechanism != "zero":
        piece = reset_by_subtraction(name, membrane, module.reset_mechanism == "subtract")
    elif synapse.leaky and membrane.leaky:
        node = nir.CubaLIF(
            tau_syn=DT / (1 - decay),
            tau_mem=DT / (1 - membrane.decay),
            r=1 / (1 - membrane.decay),
            v_leak=np.zeros(shape),
            v_threshold=membrane.threshold,
            v_reset=np.zeros(shape),
            w_in=1 / (1 - decay),
        )
        return Piece({name: node}, name, name)
    else:
        piece = reset_to_zero(name, membrane)
    current = f"{name}_current"
    nodes = {current: synapse.potential()} | piece.nodes
    return Piece(nodes, current, piece.end, [(current, piece.entry), *piece.edges])


def _recurrent_bias(module: Any, shape: Shape) -> Array:
    bias = getattr(module.recurrent, "bias", None)
    if bias is None:
        return np.zeros(shape)
    return _full(bias.view(-1, *[1] * (len(shape) - 1)), shape)


def _feed_back(name: str, module: Any, piece: Piece, shape: Shape) -> None:
    """Add the weights from the spikes back to the input."""
    recurrent = module.recurrent
    if isinstance(recurrent, nn.Linear | nn.Conv2d):
        weight, bias = affine(recurrent, nn.Identity())
        zeros = torch.zeros_like(bias)  # a constant input of the neurons, not of the spikes
        node = weights_node(recurrent, weight, zeros, shape)
    else:
        node = nir.Scale(_full(module.V, shape))
    piece.nodes[f"{name}_recurrent"] = node
    piece.edges += [(piece.end, f"{name}_recurrent"), (f"{name}_recurrent", piece.entry)]
