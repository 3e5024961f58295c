"""RunSpec: its canonical form and its run_id."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.boards.params import Params, load_params
from tests.helpers.diverged import digits_cell
from tests.helpers.paths import ROOT


def test_run_id_is_stable(params: Params) -> None:
    """A changed run_id orphans every published record; change this test only on purpose."""
    spec = params.spec("digits-ann", "dense", "none", 1.0, 0)
    assert spec.canonical() == (
        '{"density":1.0,"granularity":"none","method":"dense","seed":0,"settings":{"data":"digits",'
        '"network":{"kind":"ann","layout":"16C3-MP2-32C3-MP2-64FC"},"recipe":{"batch_size":64,'
        '"epochs":15,"learning_rate":0.004,"optimizer":"adamw","warmup":0.1,"weight_decay":0.001}},'
        '"workload":"digits-ann"}'
    )
    assert len(spec.run_id) == 16


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"options": {"settings": 0, 'a"settings":0': {"settings": [0, "é"]}}},
        {"variant": '"settings":0,', "matched_to": '"settings":', "workload": 'w"settings":0'},
        {"control": "reinit", "threads": 2, "tuning": True},
    ],
)
def test_canonical_form_equals_json_of_all_fields_not_at_default(
    params: Params, changes: dict[str, object]
) -> None:
    """The settings are encoded apart; names that look like their key must not confuse that."""
    spec = digits_cell(params, **changes)
    names = {"density", "granularity", "method", "options", "seed", "workload"} | changes.keys()
    fields = {name: getattr(spec, name) for name in names}
    if "matched_to" in fields:
        fields["twin_of"] = fields.pop("matched_to")  # its name in JSON
    fields["settings"] = spec.settings.model_dump(mode="json", exclude_defaults=True)
    if not fields["options"]:
        del fields["options"]
    assert spec.canonical() == json.dumps(fields, sort_keys=True, separators=(",", ":"))


def test_every_field_changes_the_run_id(params: Params) -> None:
    changes: list[dict[str, object]] = [
        {"seed": 1},
        {"density": 0.5},
        {"granularity": "unstructured"},
        {"method": "random"},
        {"track": "post-training"},
        {"tuning": True},
        {"threads": 2},
        {"device": "cuda"},
        {"options": {"p": 1}},
        {"workload": "other"},
        {"settings": params.workloads["digits-ann"]},
    ]
    ids = {digits_cell(params, **change).run_id for change in changes}
    assert len(ids | {digits_cell(params).run_id}) == len(changes) + 1


def test_defaults_do_not_change_the_run_id(params: Params) -> None:
    spelled_out = digits_cell(params, track="from-scratch", threads=1)
    assert spelled_out.run_id == digits_cell(params).run_id


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(), min_size=2))
def test_order_of_options_does_not_change_the_run_id(options: dict[str, int]) -> None:
    params = load_params(ROOT)
    backwards = dict(reversed(options.items()))
    forwards = digits_cell(params, options=options)
    assert forwards.run_id == digits_cell(params, options=backwards).run_id
