"""Conformance: recorded figures, the command, and a recording made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dpap.conformance import TOLERANCE, compare
from dpap.conformance import main as conformance
from tests.helpers.paths import ROOT

GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.npz"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_recorded_figures(path: Path) -> None:
    worst: dict[str, float] = {}
    for quantity, error in compare(path):
        worst[quantity] = max(worst.get(quantity, 0.0), error)
    assert worst.keys() >= {"theta", "bcm", "importance", "survival_unit", "survival_synapse"}
    assert all(error <= TOLERANCE for error in worst.values()), worst


def test_both_recordings_exist() -> None:
    assert [path.stem for path in GOLDEN] == ["paper", "released"]


def altered(path: Path, to: Path, key: str, change: float) -> Path:
    file = dict(np.load(path, allow_pickle=False))
    file[key] = ~file[key] if file[key].dtype == bool else file[key] * (1 + change)
    np.savez(to, **file)
    return to


def test_conformance_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert conformance([str(GOLDEN[0])]) == 0
    assert capsys.readouterr().out.count("ok") >= 8
    for key, change in (("e5/conv2/bcm", 1e-3), ("e69/fc1/keep_synapse", 0)):
        assert conformance([str(altered(GOLDEN[0], tmp_path / "a.npz", key, change))]) == 1
        assert "FAILED" in capsys.readouterr().out
    assert conformance(["nowhere.npz"]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_recording_of_other_shapes(tmp_path: Path) -> None:
    """One conv layer, no pooling, T = 1, a batch of 3; equation (3) is computed by loops."""
    draw = np.random.default_rng(0)
    shapes = [[2, 3, 3], [4, 3, 3], [36], [5]]
    spikes = [(draw.random((2, 1, 3, *shape)) < 0.5).astype(np.uint8) for shape in shapes]
    meta = {
        "B": 3,
        "T": 1,
        "epochs": 2,
        "batches_per_epoch": 1,
        "snapshots": [0, 1],
        "start_epoch": 0,
        "activity_shapes": shapes,
        "layers": [
            {"name": "a", "kind": "conv", "pre": 0, "post": 1},
            {"name": "b", "kind": "linear", "pre": 2, "post": 3},
        ],
        "constants": {
            "tau": 0.5,
            "gamma": 0.9,
            "beta": 1.0,
            "conv": {"eps": 1.0, "C": 1.0, "eta": 2.0},
            "linear": {"eps": 1.0, "C": 1.0, "eta": 2.0},
        },
    }
    file = {"meta": np.array(json.dumps(meta))}
    for i, array in enumerate(spikes):
        file[f"spikes/{i}"] = np.packbits(array)
        file[f"spikes_shape/{i}"] = np.array(array.shape)
    theta = np.zeros(4)
    for epoch in range(2):
        pre, post = (spikes[i][epoch, 0].reshape(3, -1, 9).sum(2, dtype=float) for i in (0, 1))
        bcm = np.zeros((4, 2))
        for b in range(3):
            for n in range(4):
                for p in range(2):
                    bcm[n, p] += pre[b, p] * post[b, n] * (post[b, n] - theta[n])
        theta = theta + (post.mean(0) - theta) / (epoch + 1)
        file |= {f"e{epoch}/a/bcm": bcm, f"e{epoch}/a/theta": theta}
        file[f"e{epoch}/a/importance"] = post.sum(0) * bcm.sum(1)
    np.savez(tmp_path / "third.npz", **file)
    assert dict(compare(tmp_path / "third.npz")).keys() == {"bcm", "theta", "importance"}
    assert conformance([str(tmp_path / "third.npz")]) == 0
