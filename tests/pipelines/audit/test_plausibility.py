"""Plausibility: each way to edit a record that contradicts the rest of it is found."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.audit.plausibility import contradictions
from pipelines.records.record import SCHEMA_VERSION, RunRecord
from tests.helpers.tampering import Edit, add_to, apply_to, edit, found, set_to

_COST = ("outcome", "cost")
EDITS: dict[str, tuple[Edit, str]] = {
    "accuracy": (
        add_to("outcome", "validation_accuracy", number=-1 / 180),
        "another validation accuracy",
    ),
    "accuracy of no whole number of answers": (
        set_to("outcome", "test_accuracy", value=0.951),
        "no whole number of correct answers out of 450",
    ),
    "confusion": (
        add_to("outcome", "confusion", 0, 1, number=1),
        "does not give its test accuracy",
    ),
    "right answers": (
        add_to("outcome", "confusion", 0, 0, number=-1),
        "does not give its test acc",
    ),
    "impossible accuracy": (
        set_to("outcome", "test_accuracy", value=1.5),
        "has test_accuracy 1.5, which must be in .0, 1.",
    ),
    "density": (
        add_to(*_COST, "density", number=0.1),
        r"misses its target: density 0\.6\d* instead of 0\.5",
    ),
    "density within the tolerance": (
        add_to(*_COST, "density", number=2e-4),
        "no whole number of weights",
    ),
    "density of whole weights": (add_to(*_COST, "density", number=1 / 12944), "ends its curve at"),
    "target": (set_to("status", value="off-target"), "meets its target"),
    "status": (set_to("status", value="failed"), "is failed, but has an outcome"),
    "message": (set_to("message", value="fine"), "is ok, but its message is 'fine'"),
    "long message": (set_to("message", value="x" * 3000), "message of 3,000 characters"),
    "digest": (
        lambda d: d.update(code_digest="0", code_digest_end="0"),
        "made by another version of the code",
    ),
    "digest of the end": (set_to("code_digest_end", value="0"), "changed during the run"),
    "schema": (set_to("schema_version", value=SCHEMA_VERSION + 1), "update dpap-bench"),
    "spec": (set_to("spec", "seed", value=9), "run_id is not that of its spec"),
    "budget": (add_to("budget", number=1), r"has a budget of \d+ samples, but \w+"),
    "budget of the workload": (add_to("budget", number=1), "its workload gives 1167"),
    "not all spent": (set_to("spent", value={}), "is ok, but spent only 0 of"),
    "spent": (lambda d: d["spent"].update(more=1), r"spent \d+ samples, but its budget is"),
    "negative samples": (lambda d: d["spent"].update(a=-5, b=5), "negative number of samples"),
    "no outcome": (set_to("outcome", value=None), "no outcome"),
    "no record": (lambda d: d.clear(), "not a valid record"),
    "infinite loss": (set_to("outcome", "test_loss", value=math.inf), "Infinity is not a number"),
    "NaN": (set_to("curve", 0, "train_loss", value=math.nan), "NaN is not a number"),
    "negative loss": (
        set_to("outcome", "test_loss", value=-1.0),
        "has test_loss -1, which must be finite and at least 0",
    ),
    "short curve": (set_to("curve", value=[]), "curve of 0 points, but began 1 epochs"),
    "long curve": (apply_to("curve", by=lambda c: 2 * c), "curve of 2 points, but began 1 epochs"),
    "curve that stands still": (apply_to("curve", by=lambda c: 2 * c), "does not grow"),
    "curve of another budget": (
        add_to("curve", 0, "samples", number=-7),
        "after 1160 samples, but",
    ),
    "clock of an epoch": (set_to("curve", 0, "seconds", value=-1.0), "clock that runs backwards"),
    "clock of the run": (set_to("total_seconds", value=0.0), "clock that runs backwards"),
    "slower than the curve": (
        add_to("train_seconds", number=1e-3),
        "longer than its curve|backwards",
    ),
    "tomorrow": (
        set_to("started_at", value="2199-01-01T00:00:00Z"),
        "2199-01-01, which is in the future",
    ),
    "no time zone": (set_to("started_at", value="2026-01-01T00:00:00"), "which time zone"),
    "checkpoint": (set_to("checkpoint", value="0" * 64), "that a from-scratch run cannot have"),
    "parent": (set_to("parent", value="0" * 64), "that a from-scratch run cannot have"),
    "threads": (
        set_to("environment", "threads", value=8),
        "ran with 8 threads, but its spec asks for 1",
    ),
    "macs": (add_to(*_COST, "macs", number=-1), "has MACs of"),
    "synops": (add_to(*_COST, "synops", number=9.0), "has SynOps of"),
    "energy": (apply_to(*_COST, "energy_nanojoule", by=lambda e: e / 2), "has energy of"),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_that_contradicts_the_rest_is_found(folder: Path, what: str) -> None:
    change, message = EDITS[what]
    edit(folder, change)
    assert re.search(message, found(folder)), found(folder)


@pytest.mark.parametrize(
    ("field", "what"),
    [("workload", "workload"), ("variant", "variant"), ("matched_to", "matched method")],
)
def test_a_name_that_leads_out_of_the_folder_is_found(
    made: list[RunRecord], field: str, what: str
) -> None:
    spec = replace(made[0].spec, **{field: "../../elsewhere"})
    record = replace(made[0], spec=spec)
    sentence = f"has the {what} '../../elsewhere', which is not a valid name."
    assert sentence in list(contradictions(record))
