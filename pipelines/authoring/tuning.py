"""Tuning: the same search for every method, granularity and kind of network, judged on validation.

A study is a function of params.yaml, methods.yaml and the records of its trials. So tuning that was
stopped continues when it is run again: trials that have a valid record are not repeated. All
studies advance together, rung by rung, because starting processes costs as much as some runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from baselines.shared.info import Granularity
from pipelines.authoring.halving import Confirmation, Halving, halve
from pipelines.authoring.search import draw_settings
from pipelines.boards.board import fits
from pipelines.boards.hyperparameters import Kind
from pipelines.boards.params import Params
from pipelines.boards.spaces import Space, Tuning
from pipelines.common.errors import InputError, unknown
from pipelines.methods.catalogue import info
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec

#: Computes some trials, and yields the record of each when it ends.
Compute = Callable[[Sequence[RunSpec]], Iterator[RunRecord]]


class Trials:
    """The scores of trials, from the records of two stores; each record is read once.

    Parameters
    ----------
    folder
        Holds the stores: ``search``, and ``confirmation`` with the records that are in git.
    tuning
        Says which seeds belong to the confirmation.
    """

    def __init__(self, folder: Path, tuning: Tuning) -> None:
        self.search = Store(folder / "search")
        self.confirmation = Store(folder / "confirmation")
        self.confirmation_seeds = frozenset(tuning.confirmation_seeds)
        self.scores: dict[str, float | None] = {}
        self.faults: dict[str, str] = {}

    def store(self, spec: RunSpec) -> Store:
        """Return the store of a trial."""
        return self.confirmation if spec.seed in self.confirmation_seeds else self.search

    def add(self, record: RunRecord) -> None:
        """Add a trial: its validation accuracy, in [0, 1]; 0 if it did not end well."""
        if record.status == "ok" and record.outcome is not None:
            self.scores[record.run_id] = record.outcome.validation_accuracy
        else:
            self.scores[record.run_id] = 0.0
            self.faults[record.run_id] = f"{record.status}: {record.message}"

    def score(self, spec: RunSpec) -> float | None:
        """Return the score of a trial; None if it has no valid record."""
        run_id = spec.run_id
        if run_id not in self.scores:
            self.scores[run_id] = None
            record = self.store(spec).valid(spec)
            if record is not None:
                self.add(record)
        return self.scores[run_id]


@dataclass(frozen=True)
class Study:
    """The tuning of one method at one granularity on one kind of network.

    Parameters
    ----------
    params
        Parameters with an entry ``tuning:``.
    name
        Name of the method.
    granularity
        What the method removes.
    workload
        One of the workloads of the tuning.
    trials
        The scores of its trials.
    """

    params: Params
    name: str
    granularity: Granularity
    workload: str
    trials: Trials

    def __str__(self) -> str:
        return f"{self.name} {self.granularity} {self.kind}"

    @property
    def kind(self) -> Kind:
        """Kind of network."""
        return self.params.workloads[self.workload].network.kind

    @property
    def tuning(self) -> Tuning:
        """The entry ``tuning:`` of params.yaml."""
        return tuning_of(self.params)

    @property
    def space(self) -> Space:
        """The search space of the method."""
        return self.tuning.spaces[self.name]

    @cached_property
    def settings(self) -> list[dict[str, Any]]:
        """The settings of the search, each with all hyper-parameters; the first is the default.

        Raises
        ------
        InputError
            If the space does not fit the method, or does not contain the default.
        """
        untuned = self.params.model_copy(update={"tuned": {}})
        default = untuned.options(self.name, self.workload, self.granularity)
        settings = draw_settings(self.name, self.space, default, self.tuning.settings)
        for option, values in self.space.items():
            if option not in default or default[option] not in values:
                raise InputError(
                    f"the space of {self.name}.{option} does not contain the default, "
                    f"{default.get(option, 'which is not written out')}; widen it in methods.yaml."
                )
        return settings

    @cached_property
    def _params(self) -> list[Params]:
        """Parameters with each setting in turn."""
        others = {k: v for k, v in self.params.granularities.items() if k != self.name}
        plain = self.params.model_copy(update={"granularities": others, "tuned": {}})
        return [
            plain.model_copy(update={"methods": plain.methods | {self.name: setting}})
            for setting in self.settings
        ]

    def spec(self, setting: int, seed: int, *, admit: bool = False) -> RunSpec:
        """Return a trial.

        Parameters
        ----------
        setting
            Number of the setting.
        seed
            The seed itself.
        admit
            Whether to check that the method can run it.

        Raises
        ------
        InputError
            If it cannot.
        """
        place = (self.workload, self.name, self.granularity, self.tuning.density, seed)
        return replace(self._params[setting].spec(*place, admit=admit), tuning=True)

    @property
    def runs_left(self) -> int:
        """Largest number of trials without a valid record."""
        rungs = self.search().rungs
        left = self.tuning.runs
        known = {(one, seed) for rung in rungs for one in rung.means for seed in range(rung.seeds)}
        return left - len(known) if self.missing() else 0

    def search(self) -> Halving:
        """Search as far as there are scores."""
        seeds = self.tuning.search_seeds
        return halve(len(self.settings), self.tuning.rungs, lambda a, b: self._score(a, seeds[b]))

    def confirmation(self, best: int) -> Confirmation | None:
        """Compare a setting with the default on fresh seeds; None if a trial is missing."""
        seeds = self.tuning.confirmation_seeds
        default, found = ([self._score(one, seed) for seed in seeds] for one in (0, best))
        if None in default or None in found:
            return None
        return Confirmation(*(tuple(one or 0.0 for one in ones) for ones in (default, found)))

    def missing(self) -> list[RunSpec]:
        """Return the trials to run next; an empty list at the end."""
        halving = self.search()
        if halving.best is None:
            seeds = self.tuning.search_seeds
            trials = [(setting, seeds[place]) for setting, place in halving.missing]
        elif halving.best == 0 or self.fault(halving):
            return []
        else:
            seeds = self.tuning.confirmation_seeds
            trials = [(one, seed) for one in (0, halving.best) for seed in seeds]
        return [self.spec(*trial) for trial in trials if self._score(*trial) is None]

    def fault(self, halving: Halving) -> str:
        """Return why the search found nothing, as a sentence; empty if it found something."""
        if any(halving.rungs[-1].means.values()):
            return ""
        first = self.spec(0, self.tuning.search_seeds[0]).run_id
        return (
            f"no trial of {self} succeeded (first: {self.trials.faults.get(first)}); correct the "
            "method, or its search space in methods.yaml."
        )

    def _score(self, setting: int, seed: int) -> float | None:
        return self.trials.score(self.spec(setting, seed))


def run_trials(
    studies: Sequence[Study], compute: Compute, progress: Callable[[RunRecord], None]
) -> None:
    """Run all trials that the studies need, rung by rung.

    Parameters
    ----------
    studies
        The studies; they share their `trials`.
    compute
        Computes trials.
    progress
        Called with the record of each new trial.
    """
    while missing := {spec.run_id: spec for study in studies for spec in study.missing()}:
        for record in compute(list(missing.values())):
            studies[0].trials.add(record)
            progress(record)


def studies_of(
    params: Params,
    trials: Trials,
    names: Sequence[str] = (),
    granularity: str | None = None,
    kind: Kind | None = None,
) -> list[Study]:
    """Return the studies of some methods: one per granularity and kind of network.

    Parameters
    ----------
    params
        Parameters with an entry ``tuning:``.
    trials
        The scores of the trials.
    names
        Names of methods; empty: all that have a search space.
    granularity, kind
        Only these; None: all that the method supports.

    Raises
    ------
    InputError
        If a method has no search space, its space does not fit it, it refuses its default, or no
        study is left.
    """
    tuning = tuning_of(params)
    for name in names:
        if name not in tuning.spaces:
            raise unknown("method with a search space in methods.yaml", name, tuning.spaces)
    studies = [
        Study(params, name, one, workload, trials)
        for name in names or tuning.spaces
        for one in info(name).granularities
        for workload in tuning.workloads
        if fits(info(name), params.workloads[workload], one)
        if granularity in (None, one) and kind in (None, params.workloads[workload].network.kind)
    ]
    if not studies:
        raise InputError("no method that was named has this granularity and kind of network.")
    for study in studies:
        study.spec(0, tuning.seeds[0], admit=True)  # report a fault before the first run
    return studies


def tuning_of(params: Params) -> Tuning:
    """Return the entry ``tuning:`` of params.yaml.

    Raises
    ------
    InputError
        If there is no such entry, a workload is unknown, two have the same kind of network, or a
        board uses one of its seeds.
    """
    tuning = params.tuning
    if tuning is None:
        raise InputError(
            "params.yaml has no entry tuning:; write one, with the workloads of the trials."
        )
    for name in tuning.workloads:
        if name not in params.workloads:
            raise unknown("workload", name, params.workloads)
    kinds = [params.workloads[name].network.kind for name in tuning.workloads]
    if len(set(kinds)) < len(kinds):
        raise InputError("two workloads of tuning: have the same kind of network; keep one.")
    for name, board in params.boards.items():
        if shared := set(board.all_seeds) & set(tuning.seeds):
            raise InputError(
                f"tuning and board '{name}' both use seed {min(shared)}: tune with other seeds."
            )
    return tuning
