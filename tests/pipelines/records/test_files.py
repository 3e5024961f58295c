"""Files of records: written and read without loss; faulty files are refused with a reason."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.records.files import (
    PROVENANCE,
    as_text,
    copy_record,
    files_digest,
    is_present_form,
    read_record,
    write_record,
)
from pipelines.records.record import SCHEMA_VERSION, RunRecord
from pipelines.records.trajectory import Moment, Trajectory
from tests.helpers.diverged import digits_cell, diverged_record
from tests.helpers.handmade import record as handmade

#: Largest size of the file of a record, in bytes.
LARGEST = 6 * 1024


def eventful(params: Params) -> RunRecord:
    """A finished run with a trajectory of three changes."""
    record = handmade(params, "dpap", 0, 0.9, density=0.25)
    moments = (
        Moment(progress=0.0, units={"conv1": 15}, weights={"fc1": 900}),
        Moment(progress=0.3, units={"fc1": 60}),
        Moment(progress=1 / 3, weights={"fc1": 800}, steps={"conv1": 7}),
    )
    return replace(record, trajectory=Trajectory(restarts=(0.5,), moments=moments))


def test_a_record_is_read_as_it_was_written(params: Params, tmp_path: Path) -> None:
    record = eventful(params)
    path = tmp_path / f"{record.run_id}.json"
    write_record(path, record)
    assert read_record(path) == record
    assert is_present_form(path)
    first = path.read_bytes()
    write_record(path, read_record(path))
    assert path.read_bytes() == first, "writing again changes no byte"
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", PROVENANCE}


def test_a_record_in_one_file_is_read(params: Params, tmp_path: Path) -> None:
    record = eventful(params)
    path = tmp_path / f"{record.run_id}.json"
    path.write_text(record.to_json())
    assert read_record(path) == record
    assert not is_present_form(path)


def test_times_and_environment_are_in_a_file_of_their_own(params: Params, tmp_path: Path) -> None:
    """So the records of two machines with equal outcomes are equal byte by byte."""
    record = eventful(params)
    assert record.environment is not None
    elsewhere = record.environment.model_copy(update={"processor": "another"})
    points = [replace(point, seconds=99.0) for point in record.curve]
    slower = replace(record, environment=elsewhere, train_seconds=99.0, curve=points)
    paths = [tmp_path / name / f"{record.run_id}.json" for name in ("one", "two")]
    for path, one in zip(paths, (record, slower), strict=True):
        write_record(path, one)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [read_record(path) for path in paths] == [record, slower]
    assert files_digest(paths[0]) != files_digest(paths[1])


def test_a_record_without_that_file_has_no_times(params: Params, tmp_path: Path) -> None:
    record = eventful(params)
    path = tmp_path / f"{record.run_id}.json"
    write_record(path, record)
    path.with_suffix(PROVENANCE).unlink()
    found = read_record(path)
    assert (found.environment, found.started_at, found.train_seconds) == (None, None, None)
    assert {point.seconds for point in found.curve} == {None}
    assert found.outcome is not None
    assert found.outcome.cost.latency_milliseconds == {}
    write_record(path, found)
    assert not path.with_suffix(PROVENANCE).exists()
    assert read_record(path) == found


def test_fields_at_their_default_are_left_out(params: Params, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, diverged_record(digits_cell(params)))
    spec = json.loads(path.read_text())["spec"]
    assert not {"variant", "control", "tuning", "matched_to"} & spec.keys()
    assert "normalization" not in spec["settings"]
    assert spec["settings"]["network"]["layout"] == digits_cell(params).settings.network.layout


def test_all_files_of_a_record_are_copied(params: Params, tmp_path: Path) -> None:
    record = eventful(params)
    source, target = (tmp_path / name / f"{record.run_id}.json" for name in ("one", "two"))
    write_record(source, record)
    copy_record(source, target)
    assert read_record(target) == record
    names = [sorted(file.name for file in path.parent.iterdir()) for path in (source, target)]
    assert names[0] == names[1]


def test_a_record_of_many_epochs_and_changes_stays_small(params: Params, tmp_path: Path) -> None:
    record = eventful(params)
    point = replace(
        record.curve[0],
        samples=17505,
        train_loss=0.4118345,
        validation_accuracy=0.8944444444444445,
        validation_loss=0.4586512,
        density=0.1234567,
        firing_rate=0.1234567,
        learning_rate=0.0008056828,
    )
    moments = tuple(
        Moment(progress=n / 100, units={"conv1": 9, "conv2": 19, "fc1": 50}, weights={"fc1": 5000})
        for n in range(60)
    )
    full = replace(record, curve=[point] * 15, trajectory=Trajectory(moments=moments))
    path = tmp_path / f"{record.run_id}.json"
    write_record(path, full)
    assert path.stat().st_size <= LARGEST
    assert len(full.to_json()) > 2 * LARGEST


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "update dpap-bench"),
        ({"schema_version": SCHEMA_VERSION + 1, "new": 1}, "update dpap-bench"),
        ({"run_id": "0" * 16}, "was edited"),
        ({"budget": "much"}, "budget"),
        ({"unknown": 1}, "unknown"),
        ({"train_loss": math.nan}, "is not a record .NaN is not a number"),
        ({"curve": {"samples": [1, 2]}}, "not a valid record"),
        ({"spec": {"method": "lamp"}}, "not a valid record"),
    ],
)
def test_a_faulty_record_is_refused_with_a_reason(
    params: Params, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    path = tmp_path / "record.json"
    write_record(path, diverged_record(digits_cell(params)))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BenchError, match=reason):
        read_record(path)


def test_a_record_whose_correct_samples_are_damaged_is_refused(
    params: Params, tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    whole = handmade(params, "dpap", 0, 0.9, density=0.25)
    assert whole.outcome is not None
    write_record(path, replace(whole, outcome=replace(whole.outcome, correct="gIA=")))
    assert read_record(path).outcome is not None
    path.write_text(path.read_text().replace("gIA=", "gIA"))
    with pytest.raises(BenchError, match="`correct` is not base64"):
        read_record(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "update dpap-bench"),
        ({"environment": {"python": 3}}, r"environment\.python: Input should be a valid string"),
        ({"budget": "much"}, "budget"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_faulty_record_in_one_file_is_refused_with_a_reason(
    params: Params, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    path = tmp_path / "record.json"
    fields = json.loads(diverged_record(digits_cell(params)).to_json())
    path.write_text(json.dumps(fields | change))
    with pytest.raises(BenchError, match=reason):
        read_record(path)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": NaN}', "[" * 100_000, "\xff"])
def test_a_file_that_is_not_a_record_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(BenchError, match="record"):
        read_record(path)


def test_a_faulty_provenance_is_refused_with_a_reason(params: Params, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, diverged_record(digits_cell(params)))
    path.with_suffix(PROVENANCE).write_text('{"started_at": 1}')
    with pytest.raises(BenchError, match="to keep the record without its times"):
        read_record(path)


def test_text_has_a_line_for_what_holds_plain_values_only() -> None:
    assert as_text({"b": [1, 2.5], "a": {"c": [[1], []], "d": None}}) == (
        '{\n "a": {\n  "c": [\n   [1],\n   []\n  ],\n  "d": null\n },\n "b": [1, 2.5]\n}\n'
    )
