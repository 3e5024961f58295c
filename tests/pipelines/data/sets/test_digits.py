"""scikit-learn's digits: splits and damage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.common.errors import BenchError
from pipelines.data import fetch, load_test, load_training
from pipelines.data.sets import digits


def test_digits(data_root: Path) -> None:
    data = load_training("digits", data_root)
    test = load_test("digits", data_root)
    assert (len(data.train), len(data.validation), len(test)) == (1167, 180, 450)
    assert data.input_shape == (1, 8, 8)
    assert data.classes == 10
    assert abs(float(data.train.inputs.mean())) < 1e-5
    assert abs(float(data.train.inputs.std()) - 1) < 1e-4
    seen = {x.numpy().tobytes() for x in data.train.inputs}
    assert not seen & {x.numpy().tobytes() for x in test.inputs}
    for split in (data.train, data.validation, test):
        counts = torch.bincount(split.labels, minlength=10)
        assert counts.min() > 0.08 * len(split)


def test_damaged_digits_are_found_and_mended(tmp_path: Path) -> None:
    fetch("digits", tmp_path)
    path = tmp_path / "digits" / digits.FILE
    for damage in (path.read_bytes()[:-7], b"junk", b""):
        path.write_bytes(damage)
        with pytest.raises(BenchError, match="damaged; run: dpap-bench fetch digits"):
            load_training("digits", tmp_path)
        fetch("digits", tmp_path)
        assert len(load_training("digits", tmp_path).train) == 1167
