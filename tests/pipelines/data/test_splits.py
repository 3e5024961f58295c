"""Splits: disjoint, stratified and fixed; their batches."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.data.splits import Split, digest, hash_order, stratified


@given(
    st.lists(st.integers(0, 4), min_size=20, max_size=120),
    st.integers(0, 10),
    st.integers(0, 10),
)
def test_splits_are_disjoint_complete_and_balanced(labels: list[int], a: int, b: int) -> None:
    array = np.array(labels)
    parts = stratified("name", array, (a, b))
    assert [len(p) for p in parts] == [a, b, len(labels) - a - b]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for label in set(labels):
        share = (array == label).mean()
        assert abs((array[parts[0]] == label).sum() - a * share) < 1 + 1e-9


def test_splits_do_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        stratified("name", np.zeros(3, dtype=np.int64), (4,))


def test_order_depends_on_the_name_alone() -> None:
    order = hash_order("digits", np.arange(6))
    keys = [hashlib.sha256(f"digits:{i}".encode()).hexdigest() for i in order]
    assert keys == sorted(keys)
    assert digest([order]) != digest([hash_order("other", np.arange(6))])


def test_images_are_left_as_they_are() -> None:
    split = Split(torch.randn(5, 1, 2, 2), torch.arange(5))
    inputs, _ = split.batch(slice(1, 3))
    assert torch.equal(inputs, split.inputs[1:3])
