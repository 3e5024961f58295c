"""Own data sets: what fetch keeps, how splits are cut, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.common.errors import InputError
from pipelines.data import fetch, load_test, load_training
from pipelines.data.catalogue import size_of
from pipelines.data.events import Binning
from pipelines.settings.own_data import OwnData
from tests.helpers.own_workloads import FACTORIES
from tests.pipelines.data.test_image_folder import png, write


def name_of(function: str = "samples", **options: Any) -> str:
    return OwnData(factory=f"{FACTORIES}:{function}", options=options).name


def test_a_factory_gives_training_samples_of_which_a_tenth_validates(tmp_path: Path) -> None:
    name = name_of()
    fetch(name, tmp_path)
    data, test = load_training(name, tmp_path), load_test(name, tmp_path)
    assert (len(data.train), len(data.validation), len(test)) == (54, 6, 24)
    assert data.validation.labels.bincount().tolist() == [2, 2, 2]
    assert data.classes == 3
    assert data.train.batch(slice(54))[0].mean().abs() < 1e-5, "pixels are normalised"
    assert str(size_of(name, tmp_path)).startswith("1 x 4 x 4, 3 classes; 54 train")


def test_floats_and_frames_stay_as_they_are(tmp_path: Path) -> None:
    name = name_of(kind="float64")
    fetch(name, tmp_path)
    assert float(load_training(name, tmp_path).train.batch(slice(54))[0].max()) > 200
    frames = name_of(time=5)
    fetch(frames, tmp_path)
    inputs, _ = load_training(frames, tmp_path, Binning(5)).train.batch(slice(7))
    assert inputs.shape == (5, 7, 1, 4, 4)
    with pytest.raises(InputError, match="have 5 time steps; set time_steps"):
        load_training(frames, tmp_path, Binning(4))
    with pytest.raises(InputError, match=r"add 'frames: \{\}' to the workload"):
        load_training(frames, tmp_path)


def test_an_image_folder_is_read_again_when_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").touch()
    files = {f"{kind}/{n}.png": png(20 * n + k) for k, kind in enumerate("ab") for n in range(10)}
    write(tmp_path / "pets", files)
    name, root = OwnData(images="pets").name, tmp_path / "data"
    kept = fetch(name, root) / "samples.npz"
    before = kept.read_bytes()
    assert str(size_of(name, root)).endswith("14 train / 2 validation / 4 test")
    fetch(name, root)
    assert kept.read_bytes() == before
    write(tmp_path / "pets", {"a/1.png": png(255)})
    fetch(name, root)
    assert kept.read_bytes() != before
    with np.load(kept) as arrays:
        assert arrays["inputs"].shape == (20, 1, 2, 3)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("nothing", "must return .inputs, labels., .* it returns a value of type NoneType"),
        ("unlabelled", "it returns a value of type ndarray"),
        ("flat", r"returns inputs of shape \[10, 4\]; they must be \[N, C, H, W\]"),
        ("odd_labels", r"returns labels of shape \[9\] and type int64; they must be 10 whole"),
        ("infinite", "returns inputs that are not finite"),
        ("lonely", "has only 1 training samples of class 1"),
        ("absent", "has no function 'absent'"),
    ],
)
def test_a_bad_factory_is_refused_in_one_sentence(
    function: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        fetch(name_of(function), tmp_path)
    assert "\n" not in str(refused.value)
