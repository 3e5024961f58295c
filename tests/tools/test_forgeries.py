"""Forgeries of records of this repository: consistent, and told apart from honest records."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.audit.plausibility import contradictions
from pipelines.audit.second_run import second_runs
from pipelines.records.files import read_record
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from tests.helpers.paths import ROOT
from tools import forgeries

RECORDS = ROOT / "results" / "boards" / "quick" / "records" / "digits-snn" / "magnitude"
#: Forgeries that have no fault when a record is read by itself.
CONSISTENT = (
    "test accuracy + 1.8 points",
    "test and validation accuracy + 1.8 points",
    "a tenth of the SynOps",
    "three quarters of the SynOps",
    "+ 1.8 points, a tenth of the SynOps, another processor",
    "half of the MACs and parameters",
)


@pytest.fixture(scope="module")
def honest() -> list[RunRecord]:
    """Six seeds of three granularities."""
    records = [read_record(path) for path in sorted(RECORDS.glob("*.json"))]
    return [record for record in records if record.spec.seed < 6]


@pytest.mark.parametrize("name", CONSISTENT)
def test_a_consistent_forgery_is_found_by_second_runs(
    name: str, honest: list[RunRecord], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    elsewhere = forgeries.of_another("Another CPU", forgeries.FORGERIES[name])(honest)
    for record in elsewhere:
        store.write(record)
        assert not list(contradictions(record))
    again = {record.run_id: record for record in honest}
    files = sorted(tmp_path.rglob("*.json"))
    found = list(second_runs(files, files, lambda _, record: (again[record.run_id], [])))
    assert found


@pytest.mark.parametrize("name", sorted(set(forgeries.FORGERIES) - set(CONSISTENT)))
def test_every_forgery_changes_the_records(name: str, honest: list[RunRecord]) -> None:
    forged = forgeries.FORGERIES[name](honest)
    assert [record.to_json() for record in forged] != [record.to_json() for record in honest]


def test_the_same_records_from_elsewhere_are_not_accused(
    honest: list[RunRecord], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    for record in forgeries.of_another("Another CPU")(honest):
        store.write(record)
    again = {record.run_id: record for record in honest}
    files = sorted(tmp_path.rglob("*.json"))
    assert not list(second_runs(files, files, lambda _, record: (again[record.run_id], [])))


def test_more_correct_answers_fit_each_other(honest: list[RunRecord]) -> None:
    outcome = honest[0].outcome
    assert outcome is not None
    raised = forgeries.better(0.018)(outcome)
    assert raised.test_accuracy == pytest.approx((outcome.test_accuracy or 0) + 8 / 450)
    assert not list(contradictions(replace(honest[0], outcome=raised)))


@pytest.mark.slow
def test_honest_boards_are_spared_and_forged_ones_are_found() -> None:
    forgeries.main(environment=["AVX2"])
