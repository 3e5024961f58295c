"""Compare canaries with their reference, and accept a change of the code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.canaries.cells import Canary
from pipelines.canaries.outcomes import Result, deviation, difference
from pipelines.canaries.reference import (
    Place,
    Reference,
    read_references,
    write_reference,
)
from pipelines.common.errors import BenchError
from pipelines.records.lineage import (
    Accepted,
    Code,
    Entry,
    append_entry,
    change,
    read_accepted,
    write_accepted,
)
from pipelines.settings.rules import RULES_VERSION

_ADD = "add it with: dpap-bench canaries --add-environment"


@dataclass(frozen=True)
class Comparison:
    """What a comparison of canaries with their reference found.

    Parameters
    ----------
    exact
        Whether the reference is of this environment, so that all bits had to be equal.
    reference
        Name of the environment of the reference; empty if there is none.
    differ
        Name of a canary that differs -> a sentence.
    new
        Canaries without a reference.
    """

    exact: bool = False
    reference: str = ""
    differ: dict[str, str] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Acceptance:
    """What was accepted.

    Parameters
    ----------
    entry
        The entry of the lineage; None if the code is as it was accepted before.
    moved
        Names of the canaries whose outcome differs.
    added
        Names of the canaries that had no reference.
    """

    entry: Entry | None
    moved: list[str]
    added: list[str]


def reference_for(root: Path, place: Place) -> tuple[Reference | None, bool]:
    """Return the reference for an environment, and whether it is of the same environment.

    Of another environment, the first is taken. A file of an older generation is no reference.
    """
    accepted = read_accepted(root)
    valid = [
        one for one in read_references(root) if accepted and one.generation == accepted.generation
    ]
    same = [one for one in valid if one.environment == place]
    return next(iter([*same, *valid]), None), bool(same)


def compare(
    canaries: Sequence[Canary],
    results: Mapping[str, Result],
    reference: Reference | None,
    *,
    exact: bool,
) -> Comparison:
    """Compare outcomes with a reference.

    Parameters
    ----------
    canaries
        The canaries that were run.
    results
        Name of the canary -> its outcome. Controls whose parent is not ``ok`` have none.
    reference
        The reference; None: there is none.
    exact
        Whether all bits must be equal; otherwise the tolerances of
        `pipelines.canaries.outcomes` apply.
    """
    if reference is None:
        return Comparison(new=[one.name for one in canaries])
    found = Comparison(exact, reference.environment.name)
    for one in canaries:
        old, new = reference.canaries.get(one.name), results.get(one.name)
        said = ""
        if old is None and new is not None:
            found.new.append(one.name)
        elif old is not None and new is None and exact:
            said = f"{one.name}: its parent is not ok any more"
        elif old is not None and new is not None and exact:
            said = difference(one.name, old, new)
        elif old is not None and new is not None:
            said = deviation(one.name, one.spec.granularity, old, new)
        if said:
            found.differ[one.name] = said
    return found


def covered(canaries: Sequence[Canary], reference: Reference, differ: Collection[str]) -> list[str]:
    """Return what the canaries prove: all that has canaries, of which all are equal.

    Parameters
    ----------
    canaries
        All canaries.
    reference
        The reference; a canary without an outcome in it, or one that failed, proves nothing.
    differ
        Names of those that differ from it.
    """
    finished = {name for name, old in reference.canaries.items() if old.status != "failed"}
    proven = {one.covers for one in canaries if one.name in finished}
    return sorted(proven - {one.covers for one in canaries if one.name in differ})


def accept(
    root: Path,
    place: Place,
    canaries: Sequence[Canary],
    results: Mapping[str, Result],
    code: Code,
    unreached: Callable[[], list[str]],
) -> Acceptance:
    """Accept the code as it is: write outcomes, code and lineage.

    Parameters
    ----------
    root
        The project's folder.
    place
        This environment.
    canaries, results
        All canaries and their outcomes.
    code
        The code of this process.
    unreached
        Returns the files of which no canary runs a function; it is called only if needed.

    Raises
    ------
    BenchError
        If this is no reference environment, or a file cannot be read or written.
    """
    accepted = read_accepted(root)
    reference = require_reference(root, place)
    assert accepted is not None
    found = compare(canaries, results, reference, exact=True)
    moved, added = list(found.differ), found.new
    entry, missed = None, accepted.unreached
    if code.version != accepted.code.version:
        missed = unreached()
        fields = change(accepted.code, code)
        entry = Entry(
            rules=RULES_VERSION,
            before=accepted.code.version,
            after=code.version,
            **fields,
            covers=covered(canaries, reference, moved),
            unreached=sorted(set(fields["files"]) & {*missed, *accepted.unreached}),
            moved=moved,
            environment=place.name,
            outcomes=outcomes_hash(results),
        )
        append_entry(root, entry)
    generation = accepted.generation + bool(moved)
    if moved or added or set(reference.canaries) != set(results):
        write_reference(root, place, generation, results)
    write_accepted(root, Accepted(generation=generation, unreached=missed, code=code))
    return Acceptance(entry, moved, added)


def require_reference(root: Path, place: Place) -> Reference:
    """Return the reference of an environment.

    Raises
    ------
    BenchError
        If there is none, or it belongs to an older generation.
    """
    if read_accepted(root) is None:
        raise BenchError(
            f"nothing was accepted under version {RULES_VERSION} of the rules yet; begin with: "
            "dpap-bench canaries --add-environment"
        )
    reference, same = reference_for(root, place)
    if reference is None or not same:
        raise BenchError(
            f"only a reference environment can accept a change, and {place.name} is none; "
            "accept it on a machine with one of the files in results/canaries, or go back to the "
            f"accepted code and {_ADD}"
        )
    return reference


def add_environment(
    root: Path,
    place: Place,
    canaries: Sequence[Canary],
    results: Mapping[str, Result],
    code: Code,
    unreached: Callable[[], list[str]],
) -> Comparison:
    """Write the outcomes of this environment, which becomes a reference; the first one is any.

    Parameters
    ----------
    root, place, canaries, results, code, unreached
        As for `accept`.

    Raises
    ------
    BenchError
        If the code is not the accepted one, or if canaries differ by more than the tolerances.
    """
    accepted = read_accepted(root)
    if accepted is None:
        first = Accepted(generation=1, unreached=unreached(), code=code)
        write_accepted(root, first)
        write_reference(root, place, first.generation, results)
        return Comparison(new=list(results))
    if code.version != accepted.code.version:
        names = ", ".join(list(change(accepted.code, code)["files"])[:3])
        raise BenchError(
            f"the code is not as it was accepted (it differs in {names}); accept it in a reference "
            "environment first: dpap-bench canaries --accept"
        )
    reference, _ = reference_for(root, place)
    found = compare(canaries, results, reference, exact=False)
    if found.differ:
        raise BenchError(
            f"{len(found.differ)} canaries differ by more than the tolerances (first: "
            f"{next(iter(found.differ.values()))}); find out why before you add {place.name}."
        )
    write_reference(root, place, accepted.generation, results)
    return found


def outcomes_hash(results: Mapping[str, Result]) -> str:
    """Return a SHA-256 over the outcomes of canaries."""
    return hashlib.sha256(json.dumps(dict(results), sort_keys=True).encode()).hexdigest()
