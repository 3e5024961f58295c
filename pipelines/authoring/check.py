"""Holds methods to every rule."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import baselines
from baselines.shared.contract import Granularity, Pruner
from pipelines.authoring import class_rules, run_rules
from pipelines.authoring.mask_rules import ContractError
from pipelines.authoring.rehearsal import Kind, Rehearsal, rehearse
from pipelines.data.splits import TrainingData
from pipelines.methods.registry import method as find_method
from pipelines.methods.registry import methods

#: Granularity, kind of network, and target density; None: the method's own.
Case = tuple[Granularity, Kind, float | None]
DENSITY = 0.4


def find(names: Sequence[str]) -> dict[str, type[Pruner]]:
    """Find methods by name; all of them if none is named.

    Raises
    ------
    ContractError
        If a file cannot be imported, or holds no method.
    InputError
        If there is no method of this name.
    """
    try:
        known = methods()
    except Exception as error:  # a file may hold anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        at = getattr(error, "filename", None) or place.filename, getattr(error, "lineno", None)
        raise ContractError(
            f"the methods cannot be imported: {type(error).__name__} at {Path(at[0]).name}:"
            f"{at[1] or place.lineno}: {error}; mend it there."
        ) from error
    for name in names:
        file = Path(baselines.__path__[0]) / f"{name.replace('-', '_')}.py"
        if name not in known and file.exists():
            raise ContractError(
                f"{file.name} holds no method named '{name}': it needs a subclass of Pruner with "
                f"info = PrunerInfo(name='{name}', ...), as in baselines/_template.py."
            )
    return {name: find_method(name) for name in names or known}


def cases(method: type[Pruner]) -> list[Case]:
    """All that a method can be asked for."""
    spiking: tuple[Kind, ...] = ("snn", "residual snn")
    kinds = spiking if method.info.needs_spikes else (*spiking, "ann")
    found: list[Case] = []
    for granularity in method.info.granularities:
        found += [(granularity, kind, 1.0 if granularity == "none" else DENSITY) for kind in kinds]
        found += [(granularity, "snn", None)] if method.info.emergent else []
    return found


def perform(
    method: type[Pruner],
    options: dict[str, Any],
    case: Case,
    data: TrainingData,
    noise: int = 0,
) -> Rehearsal:
    """Rehearse one case; a method without a target gets more time.

    Raises
    ------
    ContractError
        If the method stops, or returns masks that do not fit.
    """
    epochs = 6 if case[2] is None else 2
    return rehearse(method, options, *case, data, epochs=epochs, noise=noise)


def faults(
    method: type[Pruner], options: dict[str, Any] | None, data: TrainingData
) -> Iterator[tuple[str, str]]:
    """Hold a method to every rule.

    Parameters
    ----------
    method
        The method.
    options
        Its entry in params.yaml, if it has one.
    data
        The digits.

    Yields
    ------
    tuple
        Where, as ``structured on snn`` or nothing, and a sentence: one for each broken rule.
    """
    for rule in class_rules.RULES:
        yield from _broken("", rule, method)
    yield from _broken("", class_rules.is_written_out, method, options)
    for case in cases(method):
        granularity, kind, target = case
        where = f"{granularity} on {kind}" + ("" if target else ", its own density")
        try:
            rehearsal = perform(method, options or {}, case, data)
            again = perform(method, options or {}, case, data, noise=1) if kind == "snn" else None
        except ContractError as error:
            yield where, str(error)
            continue
        for check in run_rules.RULES:
            yield from _broken(where, check, rehearsal)
        if again is not None and not rehearsal.drew:
            yield from _broken(where, run_rules.repeats, rehearsal, again)


def _broken(where: str, rule: Callable[..., None], *subjects: Any) -> Iterator[tuple[str, str]]:
    try:
        rule(*subjects)
    except ContractError as error:
        yield where, str(error)
