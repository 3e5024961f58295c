"""Check of the contract: applies every rule to a method and reports the broken ones."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import baselines
from baselines.shared.contract import Granularity, Pruner
from pipelines.authoring import class_rules, run_rules
from pipelines.authoring.mask_rules import ContractError
from pipelines.authoring.rehearsal import Kind, Rehearsal, Target, rehearse
from pipelines.data.splits import TrainingData
from pipelines.methods.registry import method as find_method
from pipelines.methods.registry import methods
from pipelines.networks.initial import stream
from pipelines.records.stored_values import Packed
from pipelines.settings.spec import SPATIO_TEMPORAL, SYNOPS

#: Granularity, kind of network, and target.
Case = tuple[Granularity, Kind, Target]
#: Target density of the rehearsals.
DENSITY = 0.4


def find(names: Sequence[str]) -> dict[str, type[Pruner]]:
    """Find methods by name.

    Parameters
    ----------
    names
        Names of methods; empty: all methods.

    Returns
    -------
    dict
        Name -> class.

    Raises
    ------
    ContractError
        If a file of baselines/ cannot be imported, or a named file contains no method of its name.
    InputError
        If there is no method of a name.
    """
    try:
        known = methods()
    except Exception as error:  # a file of a method may raise anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        # A SyntaxError names the file and the line itself.
        file = Path(getattr(error, "filename", None) or frame.filename)
        line = getattr(error, "lineno", None) or frame.lineno
        raise ContractError(
            f"the methods cannot be imported: {type(error).__name__} at {file.name}:{line}: "
            f"{error}; correct this line."
        ) from error
    for name in names:
        file = Path(baselines.__path__[0]) / f"{name.replace('-', '_')}.py"
        if name not in known and file.exists():
            raise ContractError(
                f"{file.name} contains no method '{name}': it needs a subclass of Pruner with "
                f"info = PrunerInfo(name='{name}', ...), as in baselines/_template.py."
            )
    return {name: find_method(name) for name in names or known}


def cases(method: type[Pruner]) -> list[Case]:
    """Return the cases that a method must handle, by what its info declares."""
    spiking: tuple[Kind, ...] = ("snn", "residual snn")
    found: list[Case] = []
    for granularity in method.info.granularities:
        needs_spikes = method.info.needs_spikes or granularity == SPATIO_TEMPORAL
        kinds = spiking if needs_spikes else (*spiking, "ann")
        found += [(granularity, kind, 1.0 if granularity == "none" else DENSITY) for kind in kinds]
        found += [(granularity, "snn", None)] if method.info.emergent else []
    return found


def synops_cases(method: type[Pruner]) -> list[Case]:
    """Return the cases in which a method aims at SynOps; empty if it cannot."""
    if not method.info.aims_at_synops:
        return []
    return [(one, "snn", SYNOPS) for one in method.info.granularities if one != SPATIO_TEMPORAL]


def rehearse_case(
    method: type[Pruner],
    options: dict[str, Any],
    case: Case,
    data: TrainingData,
    noise: int = 0,
    store_at: int | None = None,
    state: Packed | None = None,
) -> Rehearsal:
    """Rehearse one case.

    Parameters
    ----------
    method, options
        The method and its hyper-parameters.
    case
        Granularity, kind of network and target. Without a target, training is longer.
    data
        Training data of the digits.
    noise
        Seed of the global random generators, on which results must not depend.
    store_at, state
        Where to store the state of the run, or the state that it goes on from; see `rehearse`.

    Returns
    -------
    Rehearsal
        A record of what the method did.

    Raises
    ------
    ContractError
        If the method raises an error, or returns masks that do not fit the network.
    """
    epochs = 6 if case[2] is None else 2
    return rehearse(
        method, options, *case, data, epochs=epochs, noise=noise, store_at=store_at, state=state
    )


def faults(
    method: type[Pruner], options: dict[str, Any] | None, data: TrainingData
) -> Iterator[tuple[str, str]]:
    """Apply every rule to a method.

    Parameters
    ----------
    method
        The method.
    options
        Its options in methods.yaml, if it has any.
    data
        Training data of the digits.

    Yields
    ------
    tuple
        One per broken rule: the case, such as ``structured on snn``, or an empty string if the rule
        is not about a run; and a sentence that says what to do.
    """
    for rule in class_rules.RULES:
        yield from _broken("", rule, method)
    yield from _broken("", class_rules.is_written_out, method, options)
    for case in cases(method):
        granularity, kind, target = case
        where = f"{granularity} on {kind}" + ("" if target else ", its own density")
        try:
            rehearsal = rehearse_case(method, options or {}, case, data)
            again = rest = None
            if kind == "snn":
                step = interruption(method, case)
                again = rehearse_case(method, options or {}, case, data, noise=1, store_at=step)
                rest = rehearse_case(method, options or {}, case, data, state=again.state)
        except ContractError as error:
            yield where, str(error)
            continue
        for run_rule in run_rules.RULES:
            yield from _broken(where, run_rule, rehearsal)
        if again is not None and not rehearsal.drew:
            yield from _broken(where, run_rules.repeats, rehearsal, again)
            yield from _broken(where, run_rules.goes_on, again, rest)

    for case in synops_cases(method):
        where = f"{case[0]} on {case[1]}, target SynOps"
        try:
            step = interruption(method, case)
            whole = rehearse_case(method, options or {}, case, data, store_at=step)
            rest = rehearse_case(method, options or {}, case, data, state=whole.state)
        except ContractError as error:
            yield where, str(error)
            continue
        if not whole.drew:
            yield from _broken(where, run_rules.goes_on, whole, rest)


def interruption(method: type[Pruner], case: Case) -> int:
    """Number of the step before which a rehearsal is interrupted: a random one of the first 25."""
    generator = stream(0, f"interruption:{method.info.name}:{case}")
    return int(torch.randint(1, 25, (1,), generator=generator))


def _broken(where: str, rule: Callable[..., None], *subjects: Any) -> Iterator[tuple[str, str]]:
    """Apply one rule; yield the case and the sentence if it is broken."""
    try:
        rule(*subjects)
    except ContractError as error:
        yield where, str(error)
