"""RunRecord: written and read without loss; faulty files are refused with a reason."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from msgspec import ValidationError
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.records.record import SCHEMA_VERSION, read_record
from tests.helpers.diverged import digits_cell, diverged_record
from tests.helpers.paths import ROOT

TUNING = ROOT / "results" / "tuning"


def test_a_record_is_read_as_it_was_written(params: Params, tmp_path: Path) -> None:
    record = diverged_record(digits_cell(params))
    path = tmp_path / "record.json"
    path.write_text(record.to_json())
    assert read_record(path) == record
    assert read_record(path).to_json() == path.read_text(), "writing again changes no byte"


def test_numbers_are_written_with_the_type_of_their_field(params: Params, tmp_path: Path) -> None:
    record = replace(
        diverged_record(digits_cell(params)), train_seconds=1, total_seconds=np.float64(2.5)
    )
    path = tmp_path / "record.json"
    path.write_text(record.to_json())
    assert '"train_seconds": 1.0' in path.read_text(), "an int in a float field becomes a float"
    assert read_record(path).to_json() == record.to_json()
    for wrong in ({"train_seconds": "1"}, {"budget": 1.5}, {"status": "fine"}, {"spec": None}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            replace(record, **wrong).to_json()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "update dpap-bench"),
        ({"run_id": "0" * 16}, "was edited"),
        ({"budget": "much"}, "budget"),
        ({"unknown": 1}, "unknown"),
        ({"environment": {"python": 3}}, r"environment\.python: Input should be a valid string"),
        ({"train_seconds": math.nan}, "is not a record .NaN is not a number"),
    ],
)
def test_a_faulty_record_is_refused_with_a_reason(
    params: Params, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    path = tmp_path / "record.json"
    fields = json.loads(diverged_record(digits_cell(params)).to_json())
    path.write_text(json.dumps(fields | change))
    with pytest.raises(BenchError, match=reason):
        read_record(path)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": NaN}'])
def test_a_file_that_is_not_a_record_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(BenchError, match="record"):
        read_record(path)


def test_records_of_older_schemas_are_read(tmp_path: Path) -> None:
    paths = sorted(TUNING.rglob("*.json"))
    assert paths
    for path in paths:
        assert read_record(path).schema_version <= SCHEMA_VERSION
    document = json.loads(paths[0].read_text())
    cost = document["outcome"]["cost"]
    new = ("membrane_updates", "activation_sparsity", "connection_sparsity")
    for name in new:
        cost.pop(name, None)
    for layer in cost["layers"].values():
        layer.pop("membrane_updates", None)
    old = tmp_path / "old.json"
    old.write_text(json.dumps(document | {"schema_version": 1}))
    outcome = read_record(old).outcome
    assert outcome is not None
    assert [getattr(outcome.cost, name) for name in new] == [None] * 3
    assert {layer.membrane_updates for layer in outcome.cost.layers.values()} == {None}
