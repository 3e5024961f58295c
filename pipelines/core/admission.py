"""Which cells can be run at all; anything else is told in one sentence before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.core.errors import InputError
from pipelines.core.spec import EMERGENT, RANDOM, RunSpec

if TYPE_CHECKING:
    from baselines.api import Pruner
    from pipelines.core.record import RunRecord


def check(spec: RunSpec) -> Pruner:
    """Build the method of a cell, or say why the cell cannot be run.

    Raises
    ------
    InputError
        If the method is unknown, or cannot do what the cell asks for.
    """
    from pipelines.core.methods import make  # imports torch

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
        return f"method '{spec.method}' prunes nothing; it has no {spec.control} twin."
    if spec.control and spec.twin_of:
        return (
            f"{spec.method} as {spec.twin_of} is a control itself; it has no {spec.control} twin."
        )
    if spec.control == "shuffled" and spec.method == RANDOM:
        return f"'{RANDOM}' has no shuffled twin; it is its own."
    if spec.control == "reinit" and spec.granularity not in ("structured", "hybrid"):
        return f"{spec.granularity} pruning leaves no smaller network for a reinit twin."
    if spec.control == "reinit" and spec.track != "from-scratch":
        return "a reinit twin starts from new weights; it belongs to the track from-scratch alone."
    return None


def check_parent(spec: RunSpec, parent: RunRecord | None) -> None:
    """Raise InputError unless the parent of a control has run to a good end.

    Raises
    ------
    InputError
        If it has no record, or its status is not ``ok``.
    """
    if not spec.control:
        return
    if parent is None or parent.run_id != spec.parent.run_id:
        raise InputError(
            f"a {spec.control} twin follows its parent: run {spec.parent.label()} before it."
        )
    if parent.status != "ok" or parent.outcome is None:
        raise InputError(
            f"{spec.parent.label()} is {parent.status}; a {spec.control} twin follows runs that "
            "are ok."
        )
