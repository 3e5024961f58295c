"""Augmentation as it is asked for."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipelines.settings.augmentation import Augmentation


@pytest.mark.parametrize(
    "policy", ["rand", "rand-m9", "rand-m9-inc0", "augmix-m5", "rand-m9-inc1-"]
)
def test_other_policies_are_refused(policy: str) -> None:
    with pytest.raises(ValidationError, match="policy"):
        Augmentation(policy=policy)
