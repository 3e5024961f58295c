"""Own networks and data in params.yaml: what is accepted, and what one sentence refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.common.errors import first_fault
from pipelines.settings.network import NetworkSpec
from pipelines.settings.own_data import OwnData, own_data
from pipelines.settings.workload import Workload
from tests.helpers.own_workloads import own_cell, own_workload


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"images": "my pets"}, "images:my pets"),
        ({"tonic": "SHD"}, "tonic:SHD"),
        ({"factory": "a.b:c"}, "factory:a.b:c"),
        ({"factory": "a:c", "options": {"n": 2, "k": [1]}}, 'factory:a:c {"k": [1], "n": 2}'),
    ],
)
def test_a_name_says_what_the_data_are(given: dict[str, Any], name: str) -> None:
    own = OwnData.model_validate(given)
    assert own.name == name
    assert own_data(name) == own
    assert own_data("cifar-10") is None


def test_settings_are_the_same_after_a_round_trip_and_have_a_hash() -> None:
    settings = own_workload()
    again = Workload.model_validate(settings.model_dump(mode="json", exclude_defaults=True))
    assert again == settings
    assert hash(again) == hash(settings)
    other = own_workload(network_fields={"options": {"hidden": 8}})
    assert own_cell(other, "dense", "none").run_id != own_cell(settings, "dense", "none").run_id


def test_fields_of_factories_rename_no_other_cell() -> None:
    network = NetworkSpec(kind="snn", layout="4FC")
    assert network.model_dump(exclude_defaults=True) == {"kind": "snn", "layout": "4FC"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"network": {"factory": "nonsense"}}, "a factory is 'package.module:function', not"),
        ({"network": {"factory": "a:b", "beta": 0.9}}, "remove 'beta', or give it to the factory"),
        ({"network": {"factory": "a:b", "layout": "4FC"}}, "remove 'layout', or give it to the"),
        ({"network": {"layout": "4FC", "kind": "ann", "takes": "step"}}, "'takes' belongs to a"),
        ({"network": {"factory": "a:b", "kind": "ann", "time_steps": 3}}, "remove 'time_steps'"),
        ({"execution": {"plan": "fused"}}, "a factory's network computes itself; remove 'plan'"),
        ({"data": {"images": "a", "tonic": "b"}}, "give one of 'images', 'tonic' and 'factory'"),
        ({"data": {"images": "a", "options": {"n": 1}}}, "'options' are those of a 'factory'"),
        ({"data": {"folder": "a"}}, "folder: Extra inputs are not permitted"),
        ({"data": {"tonic": "NMNIST"}}, "say how tonic's recordings become frames"),
        ({"data": {"images": "a"}, "frames": {}}, "images are no recordings; remove 'frames'"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        own_workload(**change) if "network" not in change else Workload.model_validate(
            own_workload().model_dump() | change
        )
    said = first_fault(refused.value)
    assert sentence in said
    assert "\n" not in said
