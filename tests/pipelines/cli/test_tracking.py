"""The commands that write to MLflow: where they write, and a live run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.pipelines.cli.test_main import call, smaller
from tests.pipelines.report.tracking.test_target import closed_port

if TYPE_CHECKING:
    from mlflow.entities import Run

pytestmark = pytest.mark.filterwarnings("ignore")

CELL = ("run", "--workload", "digits-ann", "--method", "magnitude", "--density", "0.5")


@pytest.fixture
def small(project: Path) -> Path:
    """A project with tiny networks and one epoch."""
    path = project / "params.yaml"
    path.write_text(smaller(path.read_text()))
    return project


def runs(database: Path) -> list[Run]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    places = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(places))


@pytest.mark.slow
def test_a_live_run_is_the_run_of_its_record_and_says_where_it_is(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small / 'team.db'}")
    assert call(monkeypatch, *CELL, "--live", "--json") == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert "team.db (MLFLOW_TRACKING_URI)" in captured.err
    (run,) = runs(small / "team.db")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_accuracy"] == record["outcome"]["test_accuracy"]
    assert call(monkeypatch, "sync") == 0
    line = capsys.readouterr().out
    assert line.startswith("1 added, 0 replaced, 0 deleted, 1 unchanged: sqlite://")
    assert line.endswith("team.db (MLFLOW_TRACKING_URI)\n")
    assert not (small / "mlflow.db").exists()
    assert call(monkeypatch, *CELL, "--live") == 0
    assert "nothing is trained" in capsys.readouterr().err
    assert call(monkeypatch, "sync", "--uri", f"sqlite:///{small / 'mine.db'}", "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["added"] == 2
    assert counts["uri"].endswith("mine.db (--uri)")


def test_without_live_nothing_is_written_to_mlflow(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small / 'team.db'}")
    assert call(monkeypatch, *CELL) == 0
    assert not (small / "team.db").exists()
    assert not (small / "mlflow.db").exists()


def test_a_server_that_is_down_is_one_sentence_before_anything_is_computed(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"http://127.0.0.1:{closed_port()}"
    for command in (("sync", "--uri", uri), (*CELL, "--live", "--uri", uri)):
        assert call(monkeypatch, *command) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert re.fullmatch(f"dpap-bench: no MLflow server answers at {uri} .*--uri.", last)
    assert not list(small.rglob("results/**/*.json"))


@pytest.mark.slow
def test_a_store_that_fails_during_the_training_does_not_lose_the_record(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    def fail(*_: Any, **__: Any) -> None:
        raise MlflowException("the disk of the server is full")

    original = MlflowClient.create_run

    def last(self: MlflowClient, *arguments: Any, **more: Any) -> Any:
        made = original(self, *arguments, **more)
        monkeypatch.setattr(MlflowClient, "set_terminated", fail)
        return made

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", last)
        assert call(monkeypatch, *CELL, "--live") == 0
    captured = capsys.readouterr()
    assert "the disk of the server is full; the record is written" in captured.err
    assert list(small.rglob("results/local/**/*.json"))


def test_uri_without_live_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *CELL, "--uri", "sqlite:///x.db") == 2
    assert "--uri says where --live writes to" in capsys.readouterr().err


@pytest.mark.slow
def test_taking_over_a_clone_that_is_not_there(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "sync", "--take-over", "nobody") == 2
    assert "no run of the clone 'nobody' is there" in capsys.readouterr().err
