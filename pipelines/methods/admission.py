"""Admission: whether a method can run a cell. Refusals come before the run starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.common.errors import InputError
from pipelines.settings.spec import EMERGENT, RANDOM, SPATIO_TEMPORAL, SYNOPS, RunSpec

if TYPE_CHECKING:
    from baselines.shared.contract import Pruner
    from baselines.shared.info import PrunerInfo


def check(spec: RunSpec) -> Pruner:
    """Build the method of a cell, or refuse the cell.

    Parameters
    ----------
    spec
        The cell.

    Returns
    -------
    Pruner
        A new pruner with the options of the cell.

    Raises
    ------
    InputError
        If the method is unknown, or cannot do what the cell asks for.
    """
    from pipelines.methods.registry import make  # imports torch

    pruner = make(spec.method, spec.options)
    info = pruner.info
    if spec.granularity not in info.granularities:
        granularities = ", ".join(info.granularities)
        raise InputError(
            f"method '{info.name}' has granularity {granularities}, not {spec.granularity}."
        )
    if spec.track not in info.tracks:
        tracks = ", ".join(info.tracks)
        raise InputError(
            f"method '{info.name}' does not take part in track {spec.track}, only in {tracks}."
        )
    spec.settings.recipe_of(spec.track)
    if spec.density == EMERGENT and not info.emergent:
        raise InputError(f"method '{info.name}' finds no density of its own; give --density.")
    _check_synops(spec, info)
    if info.needs_spikes and spec.settings.network.kind != "snn":
        raise InputError(
            f"method '{info.name}' needs spikes; the network of {spec.workload} is artificial."
        )
    if spec.granularity == SPATIO_TEMPORAL and spec.settings.network.kind != "snn":
        raise InputError(
            f"spatio-temporal pruning needs time steps; the network of {spec.workload} is "
            "artificial."
        )
    if spec.granularity == SPATIO_TEMPORAL and spec.settings.network.factory:
        raise InputError(
            "spatio-temporal pruning silences single time steps, which only networks of layouts "
            "can; choose another granularity."
        )
    if spec.granularity == "none" and spec.density != 1:
        raise InputError(f"method '{info.name}' prunes nothing; its density must be 1.")
    if reason := refusal(spec):
        raise InputError(reason)
    return pruner


def _check_synops(spec: RunSpec, info: PrunerInfo) -> None:
    """Refuse a cell whose target SynOps the method cannot meet."""
    if (spec.density == SYNOPS) != (spec.synops is not None):
        raise InputError("give either a density or a number of SynOps as the target.")
    if spec.synops is None:
        return
    if not info.aims_at_synops:
        raise InputError(
            f"method '{info.name}' cannot aim at SynOps; give --density, or choose a method whose "
            "info has aims_at_synops."
        )
    if spec.granularity == SPATIO_TEMPORAL:
        raise InputError("spatio-temporal pruning cannot aim at SynOps; give --density.")
    if spec.settings.network.kind != "snn":
        raise InputError(
            f"the network of {spec.workload} is artificial and has no SynOps; give --density."
        )


def refusal(spec: RunSpec) -> str | None:
    """Return why a cell cannot be a control, in one sentence, or None if it can."""
    if spec.control and spec.granularity == "none":
        return f"method '{spec.method}' prunes nothing; it has no {spec.control} control."
    if spec.control and spec.matched_to:
        return (
            f"{spec.method} at the density of {spec.matched_to} is a matched run, a control "
            f"itself; it has no {spec.control} control."
        )
    if spec.control == "shuffled" and spec.method == RANDOM:
        return f"'{RANDOM}' has no shuffled control, because its masks are random already."
    if spec.control == "reinit" and spec.granularity not in ("structured", "hybrid"):
        return f"{spec.granularity} pruning leaves no smaller network for a reinit control."
    if spec.control == "reinit" and spec.track != "from-scratch":
        return "a reinit control starts from new weights, so it needs the track from-scratch."
    return None
