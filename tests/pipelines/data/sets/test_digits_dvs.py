"""The digits as simulated events: recordings, splits, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.common.errors import BenchError
from pipelines.data import fetch, load_test, load_training
from pipelines.data.events import Binning
from pipelines.data.sets import atis, digits_dvs


@pytest.mark.slow
def test_digits_dvs(data_root: Path) -> None:
    """The recordings are the published ones, and the splits are those of the digits."""
    folder = fetch("digits-dvs", data_root)
    assert atis.digest(folder / digits_dvs.FILE) == digits_dvs.CONTENT
    binning = Binning(3, scale=8)
    events, still = (
        load_training("digits-dvs", data_root, binning),
        load_training("digits", data_root),
    )
    test = load_test("digits-dvs", data_root, binning)
    assert events.input_shape == (2, 5, 5)
    assert events.train.labels.equal(still.train.labels)
    assert events.validation.labels.equal(still.validation.labels)
    assert test.labels.equal(load_test("digits", data_root).labels)
    assert (len(events.train), len(events.validation), len(test)) == (1167, 180, 450)
    assert set(torch.unique(events.train.inputs).tolist()) == {0, 1}
    label, recording = digits_dvs.recording(folder, 0)
    table = np.load(data_root / "digits" / "digits.npy")
    assert label == table[0, 64]
    # The number covers 24 x 24 of the 34 x 34 pixels, and the camera moves by two.
    assert recording["x"].min() >= 3
    assert recording["x"].max() <= 30
    path = folder / digits_dvs.FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with pytest.raises(BenchError, match="damaged; run: dpap-bench fetch digits-dvs"):
        load_training("digits-dvs", data_root, binning)
    path.write_bytes(whole)
