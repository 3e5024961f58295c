"""Records of every older schema version are read: ``versions/N.json`` is a record of version N."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.records.files import is_present_form, read_record, write_record
from pipelines.records.record import SCHEMA_VERSION
from pipelines.records.upgrade import upgrade

FOLDER = Path(__file__).with_name("versions")


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_record_of_an_older_version_is_upgraded(version: int, tmp_path: Path) -> None:
    path = FOLDER / f"{version}.json"
    fields = json.loads(path.read_text())
    assert fields["schema_version"] == version
    record = read_record(path)
    assert (record.schema_version, record.rules_version) == (SCHEMA_VERSION, 1)
    assert record.run_id == record.spec.run_id == fields["run_id"], "no run is renamed"
    assert record.spec.matched_to == fields["spec"].get("twin_of", "")
    assert [point.train_loss for point in record.curve] == [
        point["train_loss"] for point in fields["curve"]
    ]
    written = tmp_path / f"{record.run_id}.json"
    write_record(written, record)
    assert is_present_form(written)
    assert not is_present_form(path)
    assert read_record(written) == record, "the smaller form loses nothing"
    assert written.stat().st_size < path.stat().st_size * 0.7


def test_there_is_a_matched_run_among_the_older_records() -> None:
    """The field of matched runs had another name up to version 3."""
    assert any(read_record(path).spec.matched_to for path in FOLDER.glob("*.json"))


def test_figures_that_an_older_version_did_not_measure_are_none() -> None:
    outcome = read_record(FOLDER / "1.json").outcome
    assert outcome is not None
    cost = outcome.cost
    assert (cost.membrane_updates, cost.activation_sparsity, cost.connection_sparsity) == (
        None,
    ) * 3
    assert {layer.membrane_updates for layer in cost.layers.values()} == {None}
    assert (outcome.confusion, outcome.correct) == (None, None)


def test_upgrade_leaves_its_argument_alone() -> None:
    old = {"schema_version": 3, "spec": {"twin_of": "dpap"}}
    assert upgrade(old) == {"schema_version": SCHEMA_VERSION, "spec": {"matched_to": "dpap"}}
    assert old == {"schema_version": 3, "spec": {"twin_of": "dpap"}}
