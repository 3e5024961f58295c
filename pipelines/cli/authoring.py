"""Commands for people who write methods."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baselines.shared.info import ENTRY_POINT
from pipelines.common.errors import BenchError, InputError

if TYPE_CHECKING:
    from pipelines.authoring.tuning import Study
    from pipelines.records.record import RunRecord

Names = Annotated[list[str] | None, typer.Argument(help="See: dpap-bench list methods")]


def check(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Every method.")] = False,
) -> None:
    """Hold methods to the contract; each fault is one line that says what to do.

    A line that begins with advice is a remark, for example on a long file; the method passes.
    """
    if bool(names) == everything:
        raise InputError("name the methods to check, or give --all.")
    from pipelines import data
    from pipelines.authoring.check import faults, find
    from pipelines.authoring.class_rules import advice
    from pipelines.boards.params import load_params
    from pipelines.boards.project import find_root

    root = find_root(Path.cwd())
    params = load_params(root)
    kinds = find(names or ())
    data.fetch("digits", root / "data")
    digits = data.load_training("digits", root / "data")
    broken = 0
    for name, kind in kinds.items():
        print(f"checking {name}", file=sys.stderr)
        found = list(faults(kind, params.methods.get(name), digits))
        for where, sentence in found:
            print(f"fault  {name}{f' ({where})' if where else ''}: {sentence}", flush=True)
        for sentence in advice(kind):
            print(f"advice {name}: {sentence}", flush=True)
        if not found:
            print(f"ok     {name} ({', '.join(kind.info.granularities)})", flush=True)
        broken += bool(found)
    if broken:
        raise BenchError(f"{broken} of {len(kinds)} methods break the contract (see above).")


def new_method(
    name: Annotated[str, typer.Argument(help="Of the new method, such as my-method.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder for the file; default: baselines/.")
    ] = None,
) -> None:
    """Begin a method: a file that runs as it is, with its hyper-parameters in methods.yaml."""
    from pipelines.authoring.scaffold import create
    from pipelines.boards.hyperparameters import METHODS
    from pipelines.boards.project import PARAMS, find_root

    root = find_root(Path.cwd())
    path = create(root, name, to or root / "baselines")
    print(f"{path} is there, and its hyper-parameters are in {METHODS}. Next:")
    if to is not None:
        print(f"  register it: {ENTRY_POINT} in the entry points of its package")
    print(
        f"  write your scores, and summary and paper of its info, into {path.name}\n"
        f"  dpap-bench check {name}\n"
        f"  dpap-bench run --workload digits-snn --method {name} --density 0.25\n"
        f"  dpap-bench tune {name}\n"
        f"  add {name} to baselines of boards: embedded: in {PARAMS}, then make repro"
    )


def tune(
    methods: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Every method with a space.")] = False,
    granularity: Annotated[
        str | None, typer.Option(help="Tune for this one; default: the method's first.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Default: tuning.trials of params.yaml.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Leave methods.yaml as it is.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Default: every core.")] = None,
) -> None:
    """Search hyper-parameters on validation, write the best to methods.yaml; can be resumed."""
    if bool(methods) == everything:
        raise InputError("name the methods to tune, or give --all.")
    from pipelines import data
    from pipelines.authoring.tuning import Study, tuning_of
    from pipelines.boards.params import load_params
    from pipelines.boards.project import find_root
    from pipelines.common.errors import unknown
    from pipelines.engines.engine import default_workers
    from pipelines.records.store import Store

    root = find_root(Path.cwd())
    params = load_params(root)
    tuning = tuning_of(params)
    for name in methods or ():
        if name not in tuning.spaces:
            raise unknown("method with a space in methods.yaml", name, tuning.spaces)
    if tuning.workload not in params.workloads:
        raise unknown("workload", tuning.workload, params.workloads)
    store = Store(root / "results" / "tuning")
    count = workers or default_workers(params.compute.threads, params.compute.device)
    studies = [
        Study(params, name, granularity, trials, store, root / "data", "processes", count)
        for name in methods or tuning.spaces
    ]
    for study in studies:
        study.require_space()  # a fault in the last is told before the first runs
    data.fetch(params.workloads[tuning.workload].data, root / "data")
    failed = _run(studies, None if dry_run else root)
    if failed:
        raise BenchError(f"{', '.join(failed)} could not be tuned (see above).")


def _run(studies: Sequence[Study], root: Path | None) -> list[str]:
    """Run studies, write what they find to methods.yaml, and return the names that failed."""
    from pipelines.boards.hyperparameters import Tuned, read_entries, write_entries
    from pipelines.cli.progress import Progress

    failed, each = [], studies[0].runs

    def show(record: RunRecord) -> None:
        if record.status != "ok":
            progress.write(f"{record.status}: {record.spec.label()}: {record.message}")
        progress.advance(record.spec.label())

    with Progress(len(studies) * each, "tuning", "run") as progress:
        for number, study in enumerate(studies, start=1):
            try:
                first, best = study.run(show)
            except BenchError as error:
                failed.append(study.name)
                progress.write(f"{study.name}: {error}")
                continue
            # Some trials repeat others, or were refused: they are done, too.
            progress.advance(study.name, number * each - progress.done)
            found = f"trial {' '.join(best.run_ids)}, validation {100 * best.score:.1f} %"
            if root is not None:
                entries = read_entries(root)
                tuned = Tuned(runs=best.run_ids, validation=round(best.score, 4))
                changed = {"options": best.options, "tuned": tuned}
                entry = entries[study.name].model_copy(update=changed)
                write_entries(root, entries | {study.name: entry})
            progress.write(f"{study.name}: {found}; before {100 * first.score:.1f} %", sys.stdout)
    return failed
