"""Tracking stores of MLflow in a folder, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.boards.params import Params
from pipelines.report.tracking.experiments import experiments
from pipelines.report.tracking.sink import synchronize
from pipelines.report.tracking.target import choose_target, connect
from pipelines.report.tracking.tracker import Tracker

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


class Sink:
    """A tracking store, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"

    def tracker(self, clone: str = "mine") -> Tracker:
        target = choose_target(self.folder, self.uri)
        return Tracker(connect(target), clone, target.artifacts)

    def sync(self, params: Params, root: Path, clone: str = "mine", *gone: str) -> dict[str, int]:
        changes = synchronize(experiments(params, root), self.tracker(clone), gone)
        assert changes.kept_artifacts == []
        return {what: number for what, number in changes.counts.items() if number}

    @property
    def client(self) -> MlflowClient:
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def runs(self, experiment: str) -> dict[str, Run]:
        """Runs by name, which must be one each."""
        client = self.client
        home = client.get_experiment_by_name(experiment)
        assert home is not None
        found = client.search_runs([home.experiment_id], max_results=1000)
        by_name = {run.info.run_name: run for run in found}
        assert len(by_name) == len(found)
        return by_name

    def names(self) -> set[str]:
        return {e.name for e in self.client.search_experiments()} - {"Default"}

    def artifacts(self, run: Run) -> list[str]:
        return [a.path for a in self.client.list_artifacts(run.info.run_id)]

    def tags(self, experiment: str) -> dict[str, str]:
        """Tags of an experiment."""
        home = self.client.get_experiment_by_name(experiment)
        return dict(home.tags)
