"""Conformance: replay recorded spikes through this package and compare with recorded figures.

``python -m dpap.conformance FILE.npz`` prints the largest relative error of each quantity. It exits
with status 1 if an error exceeds 1e-5 or a mask differs.

Entries of the file:

==================  ===============================================================================
meta                JSON with the fields below
spikes/I            activity I, bit-packed
spikes_shape/I      its shape, [batches, T, B, ...]
eE/LAYER/QUANTITY   a figure of LAYER after epoch E; see `Replay.figures` for the quantities
==================  ===============================================================================

Fields of ``meta``: ``T``; ``layers``, each with ``name``, ``kind`` (conv or linear) and the indices
``pre`` and ``post`` of its input and output activity; ``activity_shapes``, without T and B;
``epochs``; ``batches_per_epoch``; ``snapshots``, the epochs with figures. A recording of the
paper's rules also has ``constants`` and ``start_epoch``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpap.layer import LayerState
from dpap.presets import PAPER, RELEASED, Preset

#: Largest relative error that conforms.
TOLERANCE = 1e-5


def preset_of(meta: dict[str, Any]) -> Preset:
    """Return the paper's preset with the recorded constants; without constants, `RELEASED`."""
    if "constants" not in meta:
        return RELEASED
    found = meta["constants"]
    return replace(
        PAPER,
        tau=found["tau"],
        gamma=found["gamma"],
        beta=found["beta"],
        conv_epsilon=found["conv"]["eps"],
        conv_eta=found["conv"]["eta"],
        conv_bonus=found["conv"]["C"],
        linear_epsilon=found["linear"]["eps"],
        linear_eta=found["linear"]["eta"],
        linear_bonus=found["linear"]["C"],
        first_update=meta["start_epoch"],
    )


def _spikes(file: Any, index: int, dtype: torch.dtype) -> Tensor:
    """Return recorded activity `index`, [batches, T, B, ...]."""
    shape = tuple(int(n) for n in file[f"spikes_shape/{index}"])
    bits = np.unpackbits(file[f"spikes/{index}"], count=math.prod(shape))
    return torch.from_numpy(bits.reshape(shape)).to(dtype)


class Replay:
    """One layer of a recording, with its state and its masks.

    Parameters
    ----------
    layer
        Its entry in ``layers``.
    meta
        The recording's ``meta``.
    preset
        Constants and readings.
    """

    def __init__(self, layer: dict[str, Any], meta: dict[str, Any], preset: Preset) -> None:
        self.name = layer["name"]
        self.pre, self.post = layer["pre"], layer["post"]
        inputs = meta["activity_shapes"][self.pre][0]
        outputs = meta["activity_shapes"][self.post][0]
        steps = meta["T"] if preset.unit_importance == "per-batch" else 0
        linear = layer["kind"] == "linear"
        self.state = LayerState(
            layer["kind"], outputs, inputs, preset, synapses=linear, steps=steps
        )
        self.units = torch.ones(outputs, dtype=torch.bool)
        self.synapses = torch.ones(outputs, inputs, dtype=torch.bool)
        self.times = torch.ones(outputs, steps, dtype=torch.bool)

    def prune(self) -> None:
        """Prune what has a survival below zero; it stays pruned."""
        state = self.state
        self.units &= state.unit_survival >= 0
        if state.synapse_survival is not None:
            self.synapses &= state.synapse_survival >= 0
        if state.time_survival is not None:
            self.times &= state.time_survival >= 0

    def figures(self, shape: tuple[int, ...] | None) -> dict[str, Tensor | None]:
        """Return every quantity of this layer that a recording may contain, by its name there.

        Parameters
        ----------
        shape
            Shape of the recorded mask of the weight, the quantity ``keep``; None: not recorded.
        """
        state = self.state
        state.process_pending()
        theta = state.threshold.value
        found = {
            "theta": theta[0] if theta is not None and state.preset.theta == "unit" else theta,
            "bcm": state.plasticity,
            "trace_sum": state.activity,
            "importance": state.importance,
            "time_importance": state.time_importance,
            "survival_unit": state.unit_survival,
            "survival_synapse": state.synapse_survival,
            "survival_time": state.time_survival,
            "keep_unit": self.units,
            "keep_synapse": self.synapses,
            "keep_time": self.times,
        }
        if shape is not None:
            kept = self.synapses & self.units[:, None]
            found["keep"] = kept.view(*kept.shape, *[1] * (len(shape) - 2)).expand(shape)
        return found


def compare(path: Path) -> Iterator[tuple[str, float]]:
    """Replay a recording and compare every recorded figure.

    Parameters
    ----------
    path
        The recording.

    Yields
    ------
    tuple
        Name of a quantity, and its error at one snapshot of one layer: the largest difference
        divided by the largest recorded figure. The error of a mask is 0 or infinite.

    Raises
    ------
    ValueError
        If this package does not compute a recorded quantity.
    """
    file = np.load(path, allow_pickle=False)
    meta = json.loads(str(file["meta"]))
    preset = preset_of(meta)
    exact = any(file[key].dtype == np.float64 for key in file.files if key.endswith("/bcm"))
    dtype = torch.float64 if exact else torch.float32
    spikes = [_spikes(file, i, dtype) for i in range(len(meta["activity_shapes"]))]
    layers = [Replay(layer, meta, preset) for layer in meta["layers"]]
    for epoch in range(meta["epochs"]):
        for batch in range(meta["batches_per_epoch"]):
            now = epoch * meta["batches_per_epoch"] + batch
            for layer in layers:
                layer.state.observe(spikes[layer.pre][now], spikes[layer.post][now])
        for layer in layers:
            if epoch >= preset.first_update:
                layer.state.update(epoch - preset.first_update)
                layer.prune()
            if epoch in meta["snapshots"]:
                yield from _errors(file, f"e{epoch}/{layer.name}/", layer)
            layer.state.end_update()


def _errors(file: Any, prefix: str, layer: Replay) -> Iterator[tuple[str, float]]:
    keep = file[f"{prefix}keep"].shape if f"{prefix}keep" in file.files else None
    figures = layer.figures(keep)
    for key in file.files:
        if not key.startswith(prefix):
            continue
        quantity = key.removeprefix(prefix)
        found = figures.get(quantity)
        if found is None:
            raise ValueError(f"'{key}' of the recording is not a quantity that dpap computes")
        wanted = torch.from_numpy(file[key])
        if wanted.dtype == torch.bool:
            yield quantity, 0.0 if torch.equal(found, wanted) else math.inf
        else:
            scale = max(float(wanted.abs().max()), 1e-30)
            yield quantity, float((found.double() - wanted.double()).abs().max()) / scale


def main(arguments: list[str]) -> int:
    """Print one line per quantity, and return the exit status."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print("usage: python -m dpap.conformance FILE.npz", file=sys.stderr)
        return 2
    worst: dict[str, float] = {}
    for quantity, error in compare(Path(arguments[0])):
        worst[quantity] = max(worst.get(quantity, 0.0), error)
    for quantity, error in worst.items():
        verdict = "ok" if error <= TOLERANCE else "FAILED"
        print(f"{quantity:18} largest relative error {error:.1e}  {verdict}")
    return 0 if worst and max(worst.values()) <= TOLERANCE else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
