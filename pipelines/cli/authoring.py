"""Commands for people who write methods."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baselines.shared.info import ENTRY_POINT
from pipelines.cli.options import project_root
from pipelines.common.errors import BenchError, InputError

if TYPE_CHECKING:
    from pipelines.authoring.tuning import Study
    from pipelines.records.record import RunRecord

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Names of methods; 'dpap-bench list methods' shows all."),
]


def check(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Check every method.")] = False,
) -> None:
    """Check methods against the contract with the training loop.

    A line that begins with 'fault' names a violation and says how to correct it. A line that
    begins with 'advice' is a remark, for example on a long file; the method still passes.
    """
    if bool(names) == everything:
        raise InputError("name the methods to check, or give --all.")
    from pipelines import data
    from pipelines.authoring.check import faults, find
    from pipelines.authoring.class_rules import advice
    from pipelines.boards.params import load_params

    root = project_root()
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
    name: Annotated[str, typer.Argument(help="Name of the new method, such as my-method.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder of the new file; default: baselines/.")
    ] = None,
) -> None:
    """Create the file of a new method.

    The file is a method that runs at once and prunes; replace its scores with yours. Its
    hyper-parameters are added to methods.yaml.
    """
    from pipelines.authoring.scaffold import create
    from pipelines.boards.hyperparameters import METHODS
    from pipelines.boards.project import PARAMS

    root = project_root()
    path = create(root, name, to or root / "baselines")
    print(f"The method is in {path}, its hyper-parameters are in {METHODS}. Next steps:")
    if to is not None:
        print(f"  register it: {ENTRY_POINT} in the entry points of its package")
    print(
        f"  edit {path.name}: your scores, and in `info` the summary and the paper\n"
        f"  dpap-bench check {name}\n"
        f"  dpap-bench run --workload digits-snn --method {name} --density 0.25\n"
        f"  dpap-bench tune {name}\n"
        f"  add {name} to boards.embedded.baselines in {PARAMS}, then: make repro BOARD=embedded"
    )


def tune(
    methods: Names = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Tune every method that has a search space.")
    ] = False,
    granularity: Annotated[
        str | None, typer.Option(help="Granularity of the trials; default: the method's first.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Number of trials; default: tuning.trials in params.yaml."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Search, but do not change methods.yaml.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes; default: one per core.")
    ] = None,
) -> None:
    """Search the hyper-parameters of methods.

    Trials are compared on the validation split. The best hyper-parameters are written to
    methods.yaml. After an interruption, the same command continues.
    """
    if bool(methods) == everything:
        raise InputError("name the methods to tune, or give --all.")
    from pipelines import data
    from pipelines.authoring.tuning import Study, tuning_of
    from pipelines.boards.params import load_params
    from pipelines.common.errors import unknown
    from pipelines.engines.engine import default_workers
    from pipelines.records.store import Store

    root = project_root()
    params = load_params(root)
    tuning = tuning_of(params)
    for name in methods or ():
        if name not in tuning.spaces:
            raise unknown("method with a search space in methods.yaml", name, tuning.spaces)
    if tuning.workload not in params.workloads:
        raise unknown("workload", tuning.workload, params.workloads)
    store = Store(root / "results" / "tuning")
    count = workers or default_workers(params.compute.threads, params.compute.device)
    studies = [
        Study(params, name, granularity, trials, store, root / "data", "processes", count)
        for name in methods or tuning.spaces
    ]
    for study in studies:
        study.require_space()  # report a fault in any study before the first one runs
    data.fetch(params.workloads[tuning.workload].data, root / "data")
    failed = _run(studies, None if dry_run else root)
    if failed:
        raise BenchError(f"{', '.join(failed)} could not be tuned (see above).")


def _run(studies: Sequence[Study], root: Path | None) -> list[str]:
    """Run studies, write the best hyper-parameters to methods.yaml, return the names that failed.

    methods.yaml is not changed if `root` is None.
    """
    from pipelines.boards.hyperparameters import Tuned, read_entries, write_entries
    from pipelines.cli.progress import Progress

    failed = []
    runs_per_study = studies[0].runs

    def show(record: RunRecord) -> None:
        if record.status != "ok":
            progress.write(f"{record.status}: {record.spec.label()}: {record.message}")
        progress.advance(record.spec.label())

    with Progress(len(studies) * runs_per_study, "tuning", "run") as progress:
        for number, study in enumerate(studies, start=1):
            try:
                first, best = study.run(show)
            except BenchError as error:
                failed.append(study.name)
                progress.write(f"{study.name}: {error}")
                continue
            # Trials that repeat others, or were refused, ran nothing; count them as done.
            progress.advance(study.name, number * runs_per_study - progress.done)
            found = f"trial {' '.join(best.run_ids)}, validation {100 * best.score:.1f} %"
            if root is not None:
                entries = read_entries(root)
                tuned = Tuned(runs=best.run_ids, validation=round(best.score, 4))
                changed = {"options": best.options, "tuned": tuned}
                entry = entries[study.name].model_copy(update=changed)
                write_entries(root, entries | {study.name: entry})
            progress.write(f"{study.name}: {found}; before {100 * first.score:.1f} %", sys.stdout)
    return failed
