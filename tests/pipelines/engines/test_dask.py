"""Dask gives the records of the engine ``serial``, also if a worker is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.audit.comparison import timeless
from pipelines.common.errors import BenchError
from pipelines.engines.engine import Terms, make_engine, run_cells
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec

pytest.importorskip("distributed")

from pipelines.engines.dask import Dask


@pytest.fixture
def dask() -> Iterator[Dask]:
    """Two workers, each a process."""
    engine = make_engine("dask", 2)
    assert isinstance(engine, Dask)
    with engine:
        yield engine


@pytest.mark.slow
def test_dask_gives_the_records_of_serial_although_workers_are_killed(
    cells: list[RunSpec], data_root: Path, tmp_path: Path, dask: Dask
) -> None:
    """Twice, a worker is killed while it computes; its cell goes on elsewhere."""
    serial, there = Store(tmp_path / "serial" / "records"), Store(tmp_path / "dask" / "records")
    expected = {r.run_id: r for r in run_cells(cells[:4], data_root, serial, "serial", 1)}
    found = {}
    for number, record in enumerate(
        run_cells(cells[:4], data_root, there, dask, 2, terms=Terms(pause=0))
    ):
        found[record.run_id] = record
        if number < 2:
            busy = [name for name, keys in dask.client.processing().items() if keys]
            for worker in busy[:1]:
                dask.client.run(_kill, workers=[worker], nanny=False, on_error="ignore")
    assert found.keys() == expected.keys()
    for run_id, record in found.items():
        assert timeless(record) == timeless(expected[run_id])
    assert not there.missing(cells[:4])


def _kill() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.engines.dask.PATIENCE", 0.1)
    with pytest.raises(BenchError, match=r"tcp://127.0.0.1:9 does not answer"):
        make_engine("dask", 1, "tcp://127.0.0.1:9")


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.engines.dask.find_spec", lambda _: None)
    with pytest.raises(BenchError, match=r"needs the package distributed; .*\[cluster\]"):
        make_engine("dask", 1)
