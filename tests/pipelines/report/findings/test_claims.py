"""The file of published claims: what it may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.common.errors import InputError
from pipelines.report.findings.claims import Check, Claim, load_claims

CHECK: dict[str, Any] = {
    "workload": "digits-snn",
    "granularity": "structured",
    "density": 0.25,
    "method": "magnitude",
    "against": "dense",
    "at_least": -1,
    "differs": "Digits.",
}
CLAIM: dict[str, Any] = {"claim": "It works.", "citation": "We 2026", "where": "abstract"}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"at_most": 1}, "either at_least or at_most"),
        ({"at_least": None}, "either at_least or at_most"),
        ({"against": None}, "accuracies of different data are not compared"),
        ({"against": "own shuffle", "quantity": "synops"}, "compared by accuracy only"),
        ({"quantity": "synops"}, "the bound of a ratio is above 0"),
        ({"quantity": "beauty"}, "Input should be"),
        ({"differs": ""}, "at least 1 character"),
        ({"density": 2}, "less than or equal to 1"),
        ({"margin": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_check_that_cannot_be_checked_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Check.model_validate(CHECK | changes)


def test_the_reference_and_the_dense_network_are_needed() -> None:
    assert Check.model_validate(CHECK | {"against": "random"}).methods == [
        "dense",
        "random",
        "magnitude",
    ]
    assert Check.model_validate(CHECK | {"against": "own shuffle"}).methods == [
        "dense",
        "magnitude",
    ]


def test_a_claim_has_checks_or_a_reason() -> None:
    for changes in ({}, {"checks": [CHECK], "cannot": "It needs ImageNet."}):
        with pytest.raises(ValidationError, match="either checks or a reason"):
            Claim.model_validate(CLAIM | changes)


def test_a_file_with_a_fault_is_refused_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "claims.yaml"
    with pytest.raises(InputError, match=r"there is no .*claims.yaml"):
        load_claims(file)
    file.write_text("claims: [a: b: c")
    with pytest.raises(InputError, match="not valid YAML"):
        load_claims(file)
    file.write_text(
        "claims:\n- {claim: It works., citation: We, where: here, arxiv: 12, cannot: x}"
    )
    with pytest.raises(InputError, match=r"claims\.0\.arxiv: Input should be a valid string"):
        load_claims(file)
