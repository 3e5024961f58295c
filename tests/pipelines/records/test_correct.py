"""Bits of the test samples that were right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.records.correct import correct_samples, correct_text


def test_the_first_sample_is_the_highest_bit_of_the_first_byte() -> None:
    assert correct_text([True] + 7 * [False] + [True]) == "gIA=", "bytes 0x80 0x80"


@given(st.lists(st.booleans(), max_size=40))
def test_the_samples_come_back(samples: list[bool]) -> None:
    found = correct_samples(correct_text(samples)).tolist()
    assert found[: len(samples)] == samples
    assert len(found) - len(samples) < 8
    assert not any(found[len(samples) :])


def test_other_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"base64|padding"):
        correct_samples("?")
