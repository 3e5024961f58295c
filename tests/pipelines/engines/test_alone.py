"""Work in a process of its own: its result, its end, and the signals that reach it."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from pathlib import Path

import pytest

from pipelines.audit.comparison import timeless
from pipelines.common.errors import BenchError, InputError
from pipelines.engines import task as task_module
from pipelines.engines.alone import EndedError, run_alone
from pipelines.engines.engine import Terms, run_cells
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.training.resume import OutOfTime, Signals, Stopped


def write_process(path: Path, _: Signals) -> None:
    path.write_text(str(os.getpid()))


def refuse(_: Signals) -> None:
    raise InputError("no")


def leave(_: Signals) -> None:
    """End the process without a word, from another thread."""
    leaver = threading.Thread(target=os._exit, args=(3,))
    leaver.start()
    leaver.join()


def kill(_: Signals) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_a_signal(begun: Path, signals: Signals) -> None:
    """Stop as a run does between two steps, after the signal has been noted."""
    begun.touch()
    while signals.ending is None:
        threading.Event().wait(0.01)
    begun.with_suffix(".stopped").touch()
    raise Stopped


def test_work_is_done_in_another_process(tmp_path: Path) -> None:
    assert run_alone(partial(write_process, tmp_path / "process"), Signals()) is None
    assert int((tmp_path / "process").read_text()) != os.getpid()


def test_a_refusal_comes_back() -> None:
    with pytest.raises(BenchError, match="no"):
        run_alone(refuse, Signals())


def test_a_process_that_ends_is_told_from_one_that_is_killed() -> None:
    with pytest.raises(EndedError, match="3"):
        run_alone(leave, Signals())
    with pytest.raises(ChildProcessError, match="signal 9"):
        run_alone(kill, Signals())


def test_work_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    work = partial(wait_for_a_signal, tmp_path / "begun")
    with pytest.raises(OutOfTime):
        run_alone(work, Signals(), 0.1)
    assert not (tmp_path / "begun.stopped").exists()


def test_a_signal_reaches_the_process_and_then_the_one_that_waits(tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    class Ended(BaseException):
        pass

    def end(*_: object) -> None:
        raise Ended

    def ask() -> None:
        while not begun.exists():
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        asking = threading.Thread(target=ask)
        asking.start()
        with pytest.raises(Ended), Signals() as signals:
            run_alone(partial(wait_for_a_signal, begun), signals)
        asking.join()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "begun.stopped").exists()


def test_a_cell_of_a_plug_in_goes_on_after_its_time_limit(
    cells: list[RunSpec], data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records are those of a cell that is computed here."""
    spec = next(spec for spec in cells if spec.workload == "digits-ann")
    (here,) = run_cells([spec], data_root, Store(tmp_path / "here" / "records"), "serial", 1)
    monkeypatch.setattr(task_module, "of_plugin", lambda _: True)
    store = Store(tmp_path / "records")

    def run(terms: Terms) -> list[RunRecord]:
        return list(run_cells([spec], data_root, store, "serial", 1, terms=terms))

    with pytest.raises(BenchError, match=r"took longer than 0 s .* longer --limit"):
        run(Terms(limit=0))
    assert store.resume_point(spec).exists()
    (record,) = run(Terms())
    assert record.interruptions == 1
    assert timeless(record) == timeless(here)
