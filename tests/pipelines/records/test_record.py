"""RunRecord: all fields as one JSON document, with the types of the fields."""

from __future__ import annotations

import json

import numpy as np
import pytest
from msgspec import ValidationError
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.records.record import environments_of
from pipelines.settings.rules import RULES_VERSION
from tests.helpers.diverged import digits_cell, diverged_record
from tests.helpers.paths import ROOT


def test_numbers_are_written_with_the_type_of_their_field(params: Params) -> None:
    record = replace(
        diverged_record(digits_cell(params)), train_seconds=1, total_seconds=np.float64(2.5)
    )
    assert '"train_seconds": 1.0' in record.to_json(), "an int in a float field becomes a float"
    assert json.loads(record.to_json())["total_seconds"] == 2.5
    for wrong in ({"train_seconds": "1"}, {"budget": 1.5}, {"status": "fine"}, {"spec": None}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            replace(record, **wrong).to_json()


def test_environments_are_listed_once_in_a_fixed_order(params: Params) -> None:
    one = diverged_record(digits_cell(params))
    assert one.environment is not None
    other = replace(one, environment=one.environment.model_copy(update={"processor": "0"}))
    unknown = replace(one, environment=None)
    found = environments_of([one, other, unknown, one])
    assert found == environments_of([other, one])
    assert set(found) == {one.environment, other.environment}


def test_a_record_has_the_version_of_the_rules_that_the_document_states(params: Params) -> None:
    assert diverged_record(digits_cell(params)).rules_version == RULES_VERSION
    assert f"Version {RULES_VERSION} of the rules" in (ROOT / "RULES.md").read_text()
