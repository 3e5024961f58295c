"""Tuning: the same number of trials for every method, judged on the validation split.

The search is a function of params.yaml, methods.yaml and the records, so a tune that was stopped
goes on by being run again: trials that have a valid record are not repeated.
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
    """One setting and how it did.

    Parameters
    ----------
    options
        All hyper-parameters of the method.
    score
        Mean validation accuracy over the seeds; 0 if one of the runs was not ok.
    run_ids
        Its runs; none if the method refused the setting.
    reason
        Why the score is 0.
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
        With a ``tuning:``.
    name, granularity
        What is tuned; granularity None: the method's first.
    trials
        How many; None: what params.yaml says for all.
    store, data_root, engine, workers
        Where records go, and how cells run.
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
        """What params.yaml says of tuning."""
        return tuning_of(self.params)

    @property
    def space(self) -> Space:
        """What is searched."""
        return self.tuning.spaces[self.name]

    @property
    def count(self) -> int:
        """How many trials."""
        return self.trials or self.tuning.trials

    @property
    def runs(self) -> int:
        """How many runs, at most."""
        return self.count * len(self.tuning.seeds)

    def run(self, progress: Callable[[RunRecord], None]) -> tuple[Trial, Trial]:
        """Search; return the first trial, the present setting, and the best, the first on ties.

        Parameters
        ----------
        progress
            Called with the record of every run, made or found.

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
                "as it was: mend the method, or its space."
            )
        note: dict[str, Any] = {"asked": self._asked(), "start": start, "best": best.options}
        note["trials"] = [[*trial.run_ids, round(trial.score, 4)] for trial in trials]
        with atomic_file(self._path) as file:
            file.write(yaml.safe_dump(note, sort_keys=False, default_flow_style=None).encode())
        return trials[0], best

    def require_space(self) -> None:
        """Raise InputError unless the space fits the method and holds its present setting."""
        distributions(self.name, self.space)
        self._start()

    def _search(self, start: dict[str, Any], progress: Callable[[RunRecord], None]) -> list[Trial]:
        """Ask for a batch, run it, tell the scores in the order asked, until all are done."""
        search = Search(self.name, self.space, start)
        trials: list[Trial] = []
        while left := self.count - len(trials):
            found = self._evaluate(search.ask(min(BATCH, left)), progress)
            search.tell([trial.score for trial in found])
            trials += found
        return trials

    def _evaluate(
        self, settings: Sequence[dict[str, Any]], progress: Callable[[RunRecord], None]
    ) -> list[Trial]:
        """Run what has no record, and score each setting."""
        specs: list[list[RunSpec] | str] = []
        for options in settings:
            try:
                specs.append(self._specs(options))
            except InputError as error:
                specs.append(str(error))
        cells = {s.run_id: s for group in specs if not isinstance(group, str) for s in group}
        todo = self.store.missing(cells.values())
        for spec in cells.values():
            if spec not in todo and (record := self.store.find(spec)):
                progress(record)
        for record in run_cells(todo, self.data_root, self.store, self.engine, self.workers):
            progress(record)
        return [
            Trial(options, 0.0, reason=group)
            if isinstance(group, str)
            else self._score(options, group)
            for options, group in zip(settings, specs, strict=True)
        ]

    def _specs(self, options: dict[str, Any]) -> list[RunSpec]:
        """Cells of one trial, a seed each."""
        tuning = self.tuning
        methods = self.params.methods | {self.name: options}
        params = self.params.model_copy(update={"methods": methods})
        place = (tuning.workload, self.name, self.granularity, tuning.density)
        return [replace(params.spec(*place, seed), tuning=True) for seed in tuning.seeds]

    def _score(self, options: dict[str, Any], specs: Sequence[RunSpec] | str) -> Trial:
        """Judge a setting by its records, or say why it has none."""
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
        """The present setting; if a tune wrote it, what that tune began with.

        Raises
        ------
        InputError
            If it is not in the space.
        """
        present = self.params.methods.get(self.name, {})
        if self._path.exists():
            note = yaml.safe_load(self._path.read_text())
            if note["asked"] == self._asked() and note["best"] == present:
                present = note["start"]
        for option, values in self.space.items():
            if option not in present or present[option] not in values:
                raise InputError(
                    f"the space of {self.name}.{option} does not hold the present setting, "
                    f"{present.get(option, 'which is not written out')}; widen it in methods.yaml."
                )
        return present

    def _asked(self) -> dict[str, Any]:
        """All that the search follows from, but the present setting and the code."""
        asked = self.tuning.model_dump(mode="json", exclude={"spaces"})
        asked |= {
            "trials": self.trials or self.tuning.trials,
            "granularity": self.granularity or "",
        }
        space = {name: values.model_dump(mode="json") for name, values in self.space.items()}
        return asked | {"space": space}

    @property
    def _path(self) -> Path:
        """What was found, beside the records."""
        folder = self.store.folder(self.tuning.workload, self.name)
        return folder / f"study{f'-{self.granularity}' if self.granularity else ''}.yaml"


def tuning_of(params: Params) -> Tuning:
    """Return ``tuning:`` of params.yaml.

    Raises
    ------
    InputError
        If there is none, or its seeds are those of a board.
    """
    if params.tuning is None:
        raise InputError("params.yaml has no tuning:; write there what trials train and search.")
    for name, board in params.boards.items():
        if shared := set(board.seeds) & set(params.tuning.seeds):
            raise InputError(
                f"seed {min(shared)} is of tuning and of board '{name}': tune with other seeds."
            )
    return params.tuning
