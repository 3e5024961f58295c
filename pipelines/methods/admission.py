"""Which cells can be run at all; anything else is told in one sentence before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.common.errors import InputError
from pipelines.settings.spec import EMERGENT, RANDOM, RunSpec

if TYPE_CHECKING:
    from baselines.shared.contract import Pruner


def check(spec: RunSpec) -> Pruner:
    """Build the method of a cell, or say why the cell cannot be run.

    Raises
    ------
    InputError
        If the method is unknown, or cannot do what the cell asks for.
    """
    from pipelines.methods.registry import make  # imports torch

    pruner = make(spec.method, spec.options)
    info = pruner.info
    if spec.granularity not in info.granularities:
        can = ", ".join(info.granularities)
        raise InputError(f"method '{info.name}' prunes {can}, not {spec.granularity}.")
    if spec.track not in info.tracks:
        enters = ", ".join(info.tracks)
        raise InputError(
            f"method '{info.name}' does not enter the track {spec.track}; it enters {enters}."
        )
    spec.settings.recipe_of(spec.track)
    if spec.density == EMERGENT and not info.emergent:
        raise InputError(f"method '{info.name}' finds no density of its own; give --density.")
    if info.needs_spikes and spec.settings.network.kind != "snn":
        raise InputError(f"method '{info.name}' needs spikes; {spec.workload} has none.")
    if spec.granularity == "none" and spec.density != 1:
        raise InputError(f"method '{info.name}' prunes nothing; its density is 1.")
    if reason := refusal(spec):
        raise InputError(reason)
    return pruner


def refusal(spec: RunSpec) -> str | None:
    """Why a cell cannot be a control, or None."""
    if spec.control and spec.granularity == "none":
        return f"method '{spec.method}' prunes nothing; it has no {spec.control} control."
    if spec.control and spec.matched_to:
        return f"{spec.method} as {spec.matched_to} is a control itself; it has no other."
    if spec.control == "shuffled" and spec.method == RANDOM:
        return f"'{RANDOM}' has no shuffled control; it is its own."
    if spec.control == "reinit" and spec.granularity not in ("structured", "hybrid"):
        return f"{spec.granularity} pruning leaves no smaller network for a reinit control."
    if spec.control == "reinit" and spec.track != "from-scratch":
        return "a reinit control starts from new weights; it is of the track from-scratch alone."
    return None
