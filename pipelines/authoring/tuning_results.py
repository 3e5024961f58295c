"""What tuning found: one file per method in results/tuning, and the tables made from these files.

The files are in git, and so are the records of the confirmations that they name. The records of
the search are not, because they are many; the files hold their mean scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from baselines.shared.info import Granularity
from pipelines.authoring.halving import Confirmation, Rung
from pipelines.authoring.tuning import Study, Trials
from pipelines.boards.hyperparameters import Changes, Kind
from pipelines.common.errors import BenchError, InputError, first_fault
from pipelines.common.files import atomic_file
from pipelines.common.yaml import load_yaml, write_yaml
from pipelines.records.files import PROVENANCE

_DIGITS = 4
_HEADING = "Written by dpap-bench tune (docs/tuning.md). Scores are validation accuracies."


class Comparison(BaseModel):
    """The default and the best setting of a search, on the seeds of the confirmation.

    Parameters
    ----------
    default, found
        Validation accuracies, one per seed; 0 for a run that did not end well.
    default_runs, found_runs
        The run ids, in the same order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: tuple[float, ...]
    found: tuple[float, ...]
    default_runs: tuple[str, ...]
    found_runs: tuple[str, ...]

    @property
    def confirmation(self) -> Confirmation:
        """The paired difference."""
        return Confirmation(self.default, self.found)


class Result(BaseModel):
    """The result of one study.

    Parameters
    ----------
    options
        The hyper-parameters that were searched.
    settings
        Their values in each setting, in the order of `options`; the first is the default.
    rungs
        The rungs of the search; a setting is named by its number.
    best
        Number of the best setting; 0: the default.
    comparison
        The best setting and the default on fresh seeds; None if the default is the best setting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    options: tuple[str, ...]
    settings: tuple[tuple[Any, ...], ...]
    rungs: tuple[Rung, ...]
    best: int
    comparison: Comparison | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """Values of the best setting that differ from those of the default."""
        pairs = zip(self.options, self.settings[0], self.settings[self.best], strict=True)
        return {option: value for option, default, value in pairs if value != default}

    @property
    def taken(self) -> bool:
        """Whether the best setting replaces the default."""
        return self.comparison is not None and self.comparison.confirmation.is_better


#: Kind of network -> granularity -> result.
Results = dict[Kind, dict[Granularity, Result]]
_RESULTS = TypeAdapter(Results)


def result_of(study: Study) -> Result:
    """Return the result of a study without missing trials.

    Raises
    ------
    BenchError
        If no trial of it succeeded.
    """
    halving = study.search()
    if fault := study.fault(halving):
        raise BenchError(fault)
    assert halving.best is not None, "a trial is missing"
    confirmation = study.confirmation(halving.best) if halving.best else None
    comparison = None
    if confirmation is not None:
        seeds = study.tuning.confirmation_seeds
        specs = [[study.spec(one, seed) for seed in seeds] for one in (0, halving.best)]
        default_runs, found_runs = (tuple(spec.run_id for spec in ones) for ones in specs)
        comparison = Comparison(
            default=_rounded(confirmation.default),
            found=_rounded(confirmation.found),
            default_runs=default_runs,
            found_runs=found_runs,
        )
    rungs = [
        Rung(rung.seeds, dict(zip(rung.means, _rounded(rung.means.values()), strict=True)))
        for rung in halving.rungs
    ]
    return Result(
        options=tuple(study.space),
        settings=tuple(tuple(one[option] for option in study.space) for one in study.settings),
        rungs=tuple(rungs),
        best=halving.best,
        comparison=comparison,
    )


def _rounded(scores: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(score, _DIGITS) for score in scores)


def read_results(folder: Path, name: str) -> Results:
    """Read the results of one method; an empty dict if it has not been tuned.

    Raises
    ------
    InputError
        If the file is not valid.
    """
    path = folder / f"{name}.yaml"
    if not path.exists():
        return {}
    try:
        return _RESULTS.validate_python(load_yaml(path) or {})
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from error


def all_results(folder: Path) -> dict[str, Results]:
    """Read the results of all methods that have been tuned, by name."""
    return {path.stem: read_results(folder, path.stem) for path in sorted(folder.glob("*.yaml"))}


def write_result(folder: Path, study: Study, result: Result) -> None:
    """Write the result of a study, beside the other results of its method.

    Records of an earlier confirmation that no result names any more are removed.

    Raises
    ------
    BenchError
        If a file cannot be written.
    """
    results = read_results(folder, study.name)
    before = _run_ids(results)
    results.setdefault(study.kind, {})[study.granularity] = result
    plain = _RESULTS.dump_python(results, exclude_none=True)
    with atomic_file(folder / f"{study.name}.yaml") as file:
        file.write(write_yaml(plain, _HEADING).encode())
    # Records that no result ever named may belong to a study whose result is not written yet.
    gone = before - _run_ids(results)
    for path in confirmation_records(study.trials, study):
        if path.stem in gone:
            path.unlink()
            path.with_suffix(PROVENANCE).unlink(missing_ok=True)


def _run_ids(results: Results) -> set[str]:
    """Return the run ids of all confirmations of a method."""
    return {
        run_id
        for granularities in results.values()
        for one in granularities.values()
        if one.comparison
        for run_id in one.comparison.default_runs + one.comparison.found_runs
    }


def confirmation_records(trials: Trials, study: Study) -> list[Path]:
    """Return the records of the confirmations of a method on a workload."""
    return sorted(trials.confirmation.folder(study.workload, study.name).glob("*.json"))


def tuned_changes(results: Results) -> Changes:
    """Return what methods.yaml has under ``tuned`` for a method: the confirmed changes only."""
    found: Changes = {}
    for kind, granularities in results.items():
        for granularity, result in granularities.items():
            if result.taken:
                found.setdefault(kind, {})[granularity] = result.changes
    return found


def results_markdown(everything: dict[str, Results]) -> str:
    """Return the table of default against tuned setting, as Markdown."""
    lines = [
        "| method | network | granularity | default | tuned | tuned - default | used | changes |",
        "| --- | --- | --- | ---: | ---: | ---: | --- | --- |",
        *(_line(*one) for one in _flat(everything)),
    ]
    return "\n".join(lines) + "\n"


def _flat(everything: dict[str, Results]) -> Iterator[tuple[str, str, str, Result]]:
    for name, results in everything.items():
        for kind, granularities in results.items():
            for granularity, result in granularities.items():
                yield name, kind, granularity, result


def _line(name: str, kind: str, granularity: str, result: Result) -> str:
    """Return a row; accuracies in percent, their difference in points."""
    cells = ["", "", "", "default", ""]
    if result.comparison is not None:
        found = result.comparison.confirmation
        cells = [
            f"{100 * fmean(found.default):.1f}",
            f"{100 * fmean(found.found):.1f}",
            f"{100 * found.gain:+.2f} ± {100 * found.half_width:.2f}",
            "tuned" if result.taken else "default",
            ", ".join(f"{option} {value}" for option, value in result.changes.items()),
        ]
    return " | ".join([f"| `{name}`", kind, granularity, *cells]) + " |"


def one_line(result: Result) -> str:
    """Return what a study found, in one line."""
    if result.comparison is None:
        return "the default is the best setting of the search"
    found = result.comparison.confirmation
    verdict = "the default is replaced" if result.taken else "the default is kept"
    changes = ", ".join(f"{option} {value}" for option, value in result.changes.items())
    return (
        f"{verdict}; {changes}: {100 * found.gain:+.2f} ± {100 * found.half_width:.2f} points on "
        f"{len(found.found)} fresh seeds"
    )
