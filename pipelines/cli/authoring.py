"""Commands for people who write methods."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baselines.shared.info import ENTRY_POINT
from pipelines.cli.options import project_root
from pipelines.common.errors import BenchError, InputError
from pipelines.common.files import read_text

if TYPE_CHECKING:
    from pipelines.authoring.tuning import Study, Trials
    from pipelines.records.record import RunRecord
    from pipelines.settings.spec import RunSpec

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
    if to is None:  # this process does not know the method yet: it read the methods before
        subprocess.run([sys.executable, "-m", "pipelines.cli.main", "digest"], cwd=root, check=True)
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


class NetworkKind(StrEnum):
    """Kind of network of a tuning workload."""

    snn = "snn"
    ann = "ann"


def tune(
    methods: Names = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Tune every method that has a search space.")
    ] = False,
    granularity: Annotated[
        str | None, typer.Option(help="Only this granularity; default: all of the method.")
    ] = None,
    kind: Annotated[
        NetworkKind | None, typer.Option(help="Only this kind of network; default: both.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Search and confirm, but do not change methods.yaml.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes; default: one per core.")
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report", help="Only print default against tuned setting, as Markdown."),
    ] = False,
    update: Annotated[
        Path | None,
        typer.Option(
            help="With --report: write the table into this document, between its markers."
        ),
    ] = None,
) -> None:
    """Search and confirm hyper-parameters of methods.

    Trials are compared on the validation split, by successive halving. A setting that beats the
    default on fresh seeds is written to methods.yaml. After an interruption, the same command
    continues.
    """
    root = project_root()
    folder = root / "results" / "tuning"
    if report or update:
        if methods or everything or not report:
            raise InputError("--report is of all methods, and --update needs it: name no method.")
        _report_tuning(folder, update)
        return
    if bool(methods) == everything:
        raise InputError("name the methods to tune, or give --all.")
    from pipelines import data
    from pipelines.authoring.tuning import Trials, studies_of, tuning_of
    from pipelines.boards.params import load_params
    from pipelines.engines.engine import default_workers

    params = load_params(root)
    trials = Trials(folder, tuning_of(params))
    studies = studies_of(
        params, trials, methods or (), granularity, None if kind is None else kind.value
    )
    for name in {study.workload for study in studies}:
        data.fetch(params.workloads[name].data, root / "data")
    count = workers or default_workers(params.compute.threads, params.compute.device)
    _run_studies(studies, trials, root / "data", count)
    failed = _keep_results(studies, folder, None if dry_run else root)
    if failed:
        raise BenchError(f"{', '.join(failed)} could not be tuned (see above).")


def _report_tuning(folder: Path, document: Path | None) -> None:
    """Print the table of all results, or write it between the markers of a document."""
    from pipelines.authoring.tuning_results import all_results, results_markdown
    from pipelines.common.files import atomic_file
    from pipelines.common.markers import replace_between

    table = results_markdown(all_results(folder))
    if document is None:
        print(table, end="")
        return
    updated = replace_between(read_text(document), "tuning", table)
    if updated is None:
        raise BenchError(
            f"{document} has no lines '<!-- tuning -->' and '<!-- end of tuning -->'; add both "
            "where the table should be."
        )
    with atomic_file(document) as file:
        file.write(updated.encode())
    print(f"Table of the tuning: {document}")


def _run_studies(studies: Sequence[Study], trials: Trials, data_root: Path, workers: int) -> None:
    """Run all missing trials, and show the progress.

    The total is an upper bound: a search whose best setting is the default needs no confirmation.
    """
    from pipelines.authoring.tuning import run_trials
    from pipelines.cli.progress import Progress
    from pipelines.engines.engine import run_cells

    def compute(specs: Sequence[RunSpec]) -> Iterator[RunRecord]:
        for store in (trials.search, trials.confirmation):
            chosen = [spec for spec in specs if trials.store(spec) is store]
            yield from run_cells(chosen, data_root, store, "processes", workers)

    def show(record: RunRecord) -> None:
        if record.status != "ok":
            progress.write(f"{record.status}: {record.spec.label()}: {record.message}")
        progress.advance(record.spec.label())

    most = sum(study.runs_left for study in studies)
    print(f"{len(studies)} studies, at most {most} runs to do", file=sys.stderr)
    with Progress(most, "tuning", "run") as progress:
        run_trials(studies, compute, show)


def _keep_results(studies: Sequence[Study], folder: Path, root: Path | None) -> list[str]:
    """Write the results of all studies and print them; return the studies that failed.

    The records of the confirmations are sealed. methods.yaml is not changed if `root` is None.
    """
    from pipelines.audit.seal import seal_folder
    from pipelines.authoring.tuning_results import (
        one_line,
        read_results,
        result_of,
        tuned_changes,
        write_result,
    )
    from pipelines.boards.hyperparameters import read_entries, write_entries

    failed = []
    for study in studies:
        try:
            result = result_of(study)
        except BenchError as error:
            failed.append(str(study))
            print(error, file=sys.stderr)
            continue
        write_result(folder, study, result)
        print(f"{study}: {one_line(result)}")
    confirmation = folder / "confirmation"
    if confirmation.is_dir():
        seal_folder(confirmation)
    if root is not None:
        entries = read_entries(root)
        for name in {study.name for study in studies}:
            tuned = tuned_changes(read_results(folder, name))
            entries[name] = entries[name].model_copy(update={"tuned": tuned})
        write_entries(root, entries)
    return failed
