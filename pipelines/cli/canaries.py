"""The command that runs the canaries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import project_root
from pipelines.common.errors import BenchError, InputError, unknown

if TYPE_CHECKING:
    from pipelines.canaries.acceptance import Comparison
    from pipelines.canaries.cells import Canary
    from pipelines.canaries.outcomes import Result


def canaries(
    method: Annotated[
        list[str] | None,
        typer.Option(help="Only the canaries of this method; may be given several times."),
    ] = None,
    accept: Annotated[
        bool,
        typer.Option("--accept", help="Accept the changed code: write lineage and outcomes."),
    ] = False,
    add_environment: Annotated[
        bool,
        typer.Option(
            "--add-environment", help="Make this environment a reference, with the accepted code."
        ),
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes; default: one per core.")
    ] = None,
) -> None:
    """Show whether changed code moves results.

    Runs small cells and compares their outcomes with those in results/canaries.
    In a reference environment all bits must be equal; elsewhere the figures must agree within
    tolerances.
    """
    from pipelines.canaries.acceptance import compare, reference_for, require_reference
    from pipelines.canaries.cells import all_canaries
    from pipelines.canaries.reference import here
    from pipelines.engines.engine import default_workers

    if (accept or add_environment) and method:
        raise InputError("a change is accepted with all canaries; leave --method out.")
    if accept and add_environment:
        raise InputError("give either --accept or --add-environment.")
    root, place = _own_root(), here()
    if accept or add_environment:
        _require_compiler()
    if accept:
        require_reference(root, place)
    wanted = _of_methods(all_canaries(), method)
    results = _run(wanted, root, workers or default_workers(1, "cpu"))
    if accept:
        _accept(root, wanted, results)
    elif add_environment:
        _add_environment(root, wanted, results)
    else:
        reference, exact = reference_for(root, place)
        _report(compare(wanted, results, reference, exact=exact), wanted, place.name)


def _own_root() -> Path:
    """Return the project's folder, which must be that of the code."""
    from pipelines.records.digest import ROOT

    root = project_root()
    if root.resolve() != ROOT.resolve():
        raise BenchError(
            f"the canaries belong to the code in {ROOT}, but this folder belongs to {root}; "
            "change into the folder of the code."
        )
    return root


def _require_compiler() -> None:
    from pipelines.kernels.cpu import norm_scan

    if not norm_scan.available():
        raise BenchError(
            "the plan 'fused' needs a C compiler, which is missing here; install one, for example "
            "gcc, and run the same command again."
        )


def _of_methods(known: list[Canary], names: Sequence[str] | None) -> list[Canary]:
    from pipelines.methods.catalogue import canonical

    if not names:
        return known
    methods = {one.spec.method for one in known}
    wanted = [canonical(name) for name in names]
    for name in wanted:
        if name not in methods:
            raise unknown("method with canaries", name, methods)
    return [one for one in known if one.of_method and one.spec.method in wanted]


def _run(wanted: Sequence[Canary], root: Path, workers: int) -> dict[str, Result]:
    from pipelines.canaries.runs import compute
    from pipelines.cli.progress import Progress

    found = {}
    with Progress(len(wanted), "canaries", "cell") as progress:
        for one, result in compute(wanted, root / "data", workers):
            found[one.name] = result
            progress.advance(one.name)
    return {one.name: found[one.name] for one in wanted if one.name in found}


def _report(found: Comparison, wanted: Sequence[Canary], here: str) -> None:
    """Print what differs, and fail if anything does."""
    if found.exact:
        print(f"reference environment {here}: every bit of an outcome must be equal")
    elif found.reference:
        print(
            f"environment {here} has no reference of this generation: figures are compared within "
            f"tolerances with those of {found.reference}"
        )
    else:
        print(f"no outcomes are recorded for the present rules; this is {here}")
    _print_differing(found, wanted)
    if found.new:
        print(
            f"{len(found.new)} canaries have no recorded outcome yet, such as {found.new[0]}; "
            "'dpap-bench canaries --accept' adds them"
        )
    print(f"{len(wanted) - len(found.differ) - len(found.new)} of {len(wanted)} canaries agree")
    if found.differ:
        raise BenchError(
            f"{len(found.differ)} canaries differ; undo the change, or accept it with "
            "'dpap-bench canaries --accept' and say in CHANGELOG.md what moved."
        )


def _print_differing(found: Comparison, wanted: Sequence[Canary]) -> None:
    for sentence in found.differ.values():
        print(f"  {sentence}")
    if found.differ:
        covers = sorted({one.covers for one in wanted if one.name in found.differ})
        print(f"these are evidence for: {', '.join(covers)}")


def _accept(root: Path, wanted: Sequence[Canary], results: dict[str, Result]) -> None:
    from pipelines.canaries.acceptance import accept
    from pipelines.canaries.reference import here
    from pipelines.records.digest import code_now

    code = code_now()
    done = accept(root, here(), wanted, results, code, lambda: _unreached(wanted, root))
    if done.added:
        print(f"{len(done.added)} new canaries are recorded")
    if done.moved:
        covers = sorted({one.covers for one in wanted if one.name in done.moved})
        print(f"{len(done.moved)} canaries moved: {', '.join(done.moved)}")
        print(f"records are stale where the changed code is used by: {', '.join(covers)}")
        print("CHANGELOG.md must say, under Results, what moved.")
    if done.entry is None:
        print("the code means the same as when it was last accepted")
        return
    print(f"changed: {', '.join(done.entry.files) or 'which files count for which cells'}")
    if done.entry.unreached:
        print(f"no canary runs, so cells that use it are stale: {', '.join(done.entry.unreached)}")
    if not done.moved:
        print("all canaries are equal: records of the code before stay valid")


def _add_environment(root: Path, wanted: Sequence[Canary], results: dict[str, Result]) -> None:
    from pipelines.canaries.acceptance import add_environment
    from pipelines.canaries.reference import here, path_of
    from pipelines.records.digest import code_now

    place = here()
    add_environment(root, place, wanted, results, code_now(), lambda: _unreached(wanted, root))
    print(f"{len(results)} outcomes: {path_of(root, place).relative_to(root)}")


def _unreached(wanted: Sequence[Canary], root: Path) -> list[str]:
    from pipelines.canaries.runs import files_run, unreached
    from pipelines.records.digest import code_now

    print("looking for code that no canary runs ...")
    return unreached(code_now(), files_run(wanted, root / "data"))
