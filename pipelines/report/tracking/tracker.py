"""Runs and experiments of one clone in a tracking store that others may use, too."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.common.errors import BenchError
from pipelines.report.tracking.target import brief

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Metric, Run
    from mlflow.tracking import MlflowClient

    from pipelines.report.tracking.runs import Tracked

#: Tags of a run: the clone that wrote it, its key, the checksum of its content, its parent run.
CLONE, KEY, DIGEST = "dpap_bench.clone", "dpap_bench.key", "dpap_bench.sha256"
PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class Tracker:
    """A store, and the clone that writes to it. Only runs of this clone are changed.

    Parameters
    ----------
    client
        Client of the store.
    clone
        Id of the clone.
    artifacts
        URI of the folder for the artifacts of new experiments; None for that of the server.
    """

    client: MlflowClient
    clone: str
    artifacts: str | None = None

    def experiment(self, name: str) -> str:
        """Return the id of an experiment; create it if needed, or restore a deleted one.

        Raises
        ------
        BenchError
            If it is deleted, and holds runs of others, which would come back, too.
        """
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return self._create(name)
        home = str(found.experiment_id)
        if found.lifecycle_stage == "deleted":
            if any(run.data.tags.get(CLONE) != self.clone for run in self._deleted(home)):
                raise BenchError(
                    f"the experiment '{name}' is deleted, with runs of others in it; restore it "
                    f"(mlflow experiments restore --experiment-id {home}), or remove it for good "
                    "(mlflow gc)."
                )
            self.client.restore_experiment(home)
        return home

    def experiments(self) -> list[Experiment]:
        """Every experiment of the store, whoever made it."""
        return list(_pages(self.client.search_experiments))

    def runs(self, clone: str, key: str = "") -> list[Run]:
        """Runs of a clone, or those of them that have a key."""
        places = [experiment.experiment_id for experiment in self.experiments()]
        asked = [f"tags.`{CLONE}` = '{clone}'"]
        if key:
            asked.append(f"tags.`{KEY}` = '{key}'")
        query = " and ".join(asked)
        found = _pages(self.client.search_runs, experiment_ids=places, filter_string=query)
        return [run for run in found if run.data.tags.get(KEY)]

    def begin(self, home: str, name: str, start: int, tags: dict[str, str]) -> str:
        """Create a run; it counts as incomplete until it is completed.

        Returns
        -------
        str
            MLflow's id of the run.
        """
        tags = tags | {CLONE: self.clone, "mlflow.user": _user()}
        run = self.client.create_run(home, run_name=name, start_time=start, tags=tags)
        return str(run.info.run_id)

    def complete(
        self, run_id: str, tracked: Tracked, tags: dict[str, str], metrics: Sequence[Metric]
    ) -> None:
        """Write tags, metrics, and the parameters and artifacts of a run, and end it."""
        from mlflow.entities import Param, RunTag

        self.client.log_batch(
            run_id,
            metrics=metrics,
            params=[Param(*item) for item in tracked.parameters.items()],
            tags=[RunTag(*item) for item in tags.items()],
        )
        try:
            for name, text in tracked.artifacts.items():
                self.client.log_text(run_id, text, name)
        except Exception as error:  # each kind of artifact store has errors of its own
            place = self.client.get_run(run_id).info.artifact_uri
            raise BenchError(f"cannot write artifacts to {place}: {brief(error)}") from error
        status = "FINISHED" if tracked.finished else "FAILED"
        self.client.set_terminated(run_id, status, end_time=tracked.end)

    def delete(self, run: Run) -> str:
        """Delete a run and, if the store allows it, its artifacts, which MLflow itself would keep.

        Returns
        -------
        str
            Why its artifacts were not deleted; empty if they were.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        run_id, failure = run.info.run_id, ""
        # The run may come back when its experiment is restored. Then it must not count as whole.
        self.client.set_tag(run_id, DIGEST, "deleted")
        try:
            # The tracking URI tells a repository behind the tracking server which server it is.
            place = get_artifact_repository(run.info.artifact_uri, self.client.tracking_uri)
            place.delete_artifacts()  # type: ignore[no-untyped-call]
        except Exception as error:  # each kind of artifact store has errors of its own
            failure = brief(error)
        self.client.delete_run(run_id)
        return failure

    def _create(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.create_experiment(name, artifact_location=self.artifacts))
        except MlflowException:
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)  # another clone was faster

    def _deleted(self, home: str) -> Iterator[Run]:
        from mlflow.entities import ViewType

        yield from _pages(
            self.client.search_runs, experiment_ids=[home], run_view_type=ViewType.ALL
        )


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    """Everything that a search of MLflow finds."""
    token: str | None = None
    while True:
        page = search(max_results=1000, page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def _user() -> str:
    """Who MLflow shows as the user of a run."""
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (KeyError, ImportError, OSError):  # a user without a name, as in some containers
        return "unknown"
