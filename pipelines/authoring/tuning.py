"""Tuning: the same number of trials for every method, scored on the validation split.

The search depends only on params.yaml, methods.yaml and the records. So a search that was stopped
continues when it is run again: trials that have a valid record are not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from msgspec.structs import replace

from pipelines.authoring.search import BATCH, Search, distributions
from pipelines.boards.params import Params
from pipelines.boards.spaces import Space, Tuning
from pipelines.common.errors import BenchError, InputError
from pipelines.common.files import atomic_file
from pipelines.engines.engine import Engine, run_cells
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec


@dataclass(frozen=True)
class Trial:
    """One setting of the hyper-parameters, and its score.

    Parameters
    ----------
    options
        All hyper-parameters of the method.
    score
        Mean validation accuracy over the seeds, in [0, 1]; 0 if a run failed.
    run_ids
        Ids of the runs, one per seed; empty if the method refused the setting.
    reason
        Why the score is 0, if it is.
    """

    options: dict[str, Any]
    score: float
    run_ids: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Study:
    """The tuning of one method.

    Parameters
    ----------
    params
        Parameters with an entry ``tuning:``.
    name
        Name of the method.
    granularity
        Granularity to tune for; None: the first of the method.
    trials
        Number of trials; None: the number in params.yaml.
    store
        Where the records of the trials are kept.
    data_root
        Folder of the data sets.
    engine, workers
        How runs are computed, and by how many processes.
    """

    params: Params
    name: str
    granularity: str | None
    trials: int | None
    store: Store
    data_root: Path
    engine: Engine
    workers: int

    @property
    def tuning(self) -> Tuning:
        """The entry ``tuning:`` of params.yaml."""
        return tuning_of(self.params)

    @property
    def space(self) -> Space:
        """The search space of the method."""
        return self.tuning.spaces[self.name]

    @property
    def count(self) -> int:
        """Number of trials."""
        return self.trials or self.tuning.trials

    @property
    def runs(self) -> int:
        """Largest possible number of runs."""
        return self.count * len(self.tuning.seeds)

    def run(self, progress: Callable[[RunRecord], None]) -> tuple[Trial, Trial]:
        """Search for the best setting.

        Parameters
        ----------
        progress
            Called with the record of every run, whether it was computed now or before.

        Returns
        -------
        tuple
            The first trial, which has the present setting, and the best trial. Of several equally
            good trials, the first is the best.

        Raises
        ------
        InputError
            If the space does not fit the method.
        BenchError
            If every trial failed.
        """
        start = self._start()
        trials = self._search(start, progress)
        best = max(trials, key=lambda trial: trial.score)
        if best.score == 0:
            raise BenchError(
                f"no trial of '{self.name}' succeeded (first: {trials[0].reason}); methods.yaml is "
                "unchanged: correct the method, or its search space."
            )
        note: dict[str, Any] = {"asked": self._asked(), "start": start, "best": best.options}
        note["trials"] = [[*trial.run_ids, round(trial.score, 4)] for trial in trials]
        with atomic_file(self._path) as file:
            file.write(yaml.safe_dump(note, sort_keys=False, default_flow_style=None).encode())
        return trials[0], best

    def require_space(self) -> None:
        """Require that the space fits the method and contains its present setting.

        Raises
        ------
        InputError
            If it does not.
        """
        distributions(self.name, self.space)
        self._start()

    def _search(self, start: dict[str, Any], progress: Callable[[RunRecord], None]) -> list[Trial]:
        """Propose settings in batches, run them and report their scores, until all are done."""
        search = Search(self.name, self.space, start)
        trials: list[Trial] = []
        while len(trials) < self.count:
            settings = search.ask(min(BATCH, self.count - len(trials)))
            evaluated = self._evaluate(settings, progress)
            search.tell([trial.score for trial in evaluated])
            trials += evaluated
        return trials

    def _evaluate(
        self, settings: Sequence[dict[str, Any]], progress: Callable[[RunRecord], None]
    ) -> list[Trial]:
        """Compute the runs that have no record, and score each setting."""
        plans: list[list[RunSpec] | str] = []  # the cells of each setting, or why it is refused
        for options in settings:
            try:
                plans.append(self._specs(options))
            except InputError as error:
                plans.append(str(error))
        cells = {spec.run_id: spec for plan in plans if not isinstance(plan, str) for spec in plan}
        missing = self.store.missing(cells.values())
        for spec in cells.values():
            record = None if spec in missing else self.store.find(spec)
            if record:
                progress(record)
        for record in run_cells(missing, self.data_root, self.store, self.engine, self.workers):
            progress(record)
        return [self._score(options, plan) for options, plan in zip(settings, plans, strict=True)]

    def _specs(self, options: dict[str, Any]) -> list[RunSpec]:
        """Return the cells of one trial, one per seed."""
        tuning = self.tuning
        methods = self.params.methods | {self.name: options}
        others = {k: v for k, v in self.params.granularities.items() if k != self.name}
        params = self.params.model_copy(update={"methods": methods, "granularities": others})
        place = (tuning.workload, self.name, self.granularity, tuning.density)
        return [replace(params.spec(*place, seed), tuning=True) for seed in tuning.seeds]

    def _score(self, options: dict[str, Any], specs: Sequence[RunSpec] | str) -> Trial:
        """Score a setting by the records of its cells; a refused setting has a reason instead."""
        if isinstance(specs, str):
            return Trial(options, 0.0, reason=specs)
        records = [record for spec in specs if (record := self.store.find(spec))]
        run_ids = tuple(record.run_id for record in records)
        scores = [r.outcome.validation_accuracy for r in records if r.outcome and r.status == "ok"]
        if len(scores) < len(specs):
            failed = next(record for record in records if record.status != "ok")
            return Trial(options, 0.0, run_ids, f"{failed.status}: {failed.message}")
        return Trial(options, fmean(scores), run_ids)

    def _start(self) -> dict[str, Any]:
        """Return the setting that the search starts with.

        It is the present setting of the method. If an equal search wrote the present setting, it is
        the setting that this search started with, so that a repeated search gives the same result.

        Raises
        ------
        InputError
            If the setting is not in the space.
        """
        present = self.params.methods.get(self.name, {})
        if self._path.exists():
            note = yaml.safe_load(self._path.read_text())
            if note["asked"] == self._asked() and note["best"] == present:
                present = note["start"]
        for option, values in self.space.items():
            if option not in present or present[option] not in values:
                raise InputError(
                    f"the space of {self.name}.{option} does not contain the present setting, "
                    f"{present.get(option, 'which is not written out')}; widen it in methods.yaml."
                )
        return present

    def _asked(self) -> dict[str, Any]:
        """Return all that the search depends on, except for the present setting and the code."""
        asked = self.tuning.model_dump(mode="json", exclude={"spaces"})
        asked |= {
            "trials": self.trials or self.tuning.trials,
            "granularity": self.granularity or "",
        }
        space = {name: values.model_dump(mode="json") for name, values in self.space.items()}
        return asked | {"space": space}

    @property
    def _path(self) -> Path:
        """The file with the result of the search, beside the records."""
        folder = self.store.folder(self.tuning.workload, self.name)
        return folder / f"study{f'-{self.granularity}' if self.granularity else ''}.yaml"


def tuning_of(params: Params) -> Tuning:
    """Return the entry ``tuning:`` of params.yaml.

    Raises
    ------
    InputError
        If there is no such entry, or a board uses one of its seeds.
    """
    if params.tuning is None:
        raise InputError(
            "params.yaml has no entry tuning:; write one, with the workload of the trials and the "
            "spaces."
        )
    for name, board in params.boards.items():
        if shared := set(board.seeds) & set(params.tuning.seeds):
            raise InputError(
                f"tuning and board '{name}' both use seed {min(shared)}: tune with other seeds."
            )
    return params.tuning
