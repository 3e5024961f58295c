"""ImageNet: a few tiny classes in its own folders, streamed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from pipelines.common.errors import BenchError
from pipelines.data import SOURCES, fetch, load_test, load_training, streaming
from pipelines.data.augment import Augmenter
from pipelines.data.download import DATA_VARIABLE
from pipelines.data.sets import imagenet
from pipelines.data.splits import stratified
from pipelines.settings.augmentation import Augmentation
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training.cell import run_cell
from tests.helpers.image_files import save

CLASSES = ("n01440764", "n01443537", "n02084071")
TRAIN, TEST, VALIDATION = 8, 2, 6


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of eight training and two validation images, in folders of the classes."""
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    counts = {"classes": 3, "training": 24, "test": 6, "validation": VALIDATION}
    monkeypatch.setattr(imagenet, "IMAGENET", replace(imagenet.IMAGENET, **counts))
    top = tmp_path / "imagenet"
    for label, name in enumerate(CLASSES):
        for i in range(TRAIN):
            save(top / "train" / name / f"{name}_{i}.JPEG", 10 * (TRAIN * label + i))
        for i in range(TEST):
            number = TEST * label + i + 1
            save(top / "val" / name / f"ILSVRC2012_val_{number:08d}.JPEG", 30 * number)
    return tmp_path


def flat(top: Path) -> None:
    """Put the validation images into one folder, as their archive has them, and add the devkit."""
    folder = top / "imagenet" / "val"
    labels = []
    for path in sorted(folder.rglob("*.JPEG"), key=lambda path: path.name):
        labels.append({CLASSES[0]: 2, CLASSES[1]: 3, CLASSES[2]: 1}[path.parent.name])
        path.rename(folder / path.name)
    for name in CLASSES:
        (folder / name).rmdir()
    devkit = top / "imagenet" / "ILSVRC2012_devkit_t12" / "data"
    devkit.mkdir(parents=True)
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, labels)))
    synsets = np.array(
        [(1, CLASSES[2]), (2, CLASSES[0]), (3, CLASSES[1]), (4, "n00001740")],  # the last: no leaf
        dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")],
    )
    savemat(devkit / "meta.mat", {"synsets": synsets})


def reds(inputs: torch.Tensor) -> list[int]:
    """Red of each image, to the next ten."""
    level = (inputs[:, 0].mean((1, 2)) * 0.229 + 0.485) * 255
    return [10 * round(v / 10) for v in level.tolist()]


def test_order_of_classes_splits_and_shapes(small: Path) -> None:
    fetch("imagenet", small)
    data = load_training("imagenet", small)
    test = load_test("imagenet", small)
    labels = np.repeat(np.arange(3), TRAIN)
    _, train = stratified("imagenet", labels, (VALIDATION,))
    assert data.train.labels.tolist() == labels[train].tolist()
    assert data.validation.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.input_shape == (3, 224, 224)
    assert data.classes == 3
    assert len(data.train) == 18
    order = torch.tensor([5, 0, 17])
    inputs, chosen = data.train.batch(order)
    assert inputs.shape == (3, 3, 224, 224)
    assert inputs.dtype == torch.float32
    assert reds(inputs) == (10 * train[order.numpy()]).tolist()
    assert chosen.tolist() == labels[train][order.numpy()].tolist()
    assert reds(test.batch(slice(1, 4))[0]) == [60, 90, 120]
    raw = load_training("imagenet", small, normalization="none").train.batch(order)[0]
    assert torch.allclose(raw[:, 1], torch.tensor(128 / 255), atol=0.02)


def test_validation_images_in_one_folder_with_the_devkit(small: Path) -> None:
    inputs, labels = load_test("imagenet", small).batch(slice(None))
    flat(small)
    fetch("imagenet", small)
    found = load_test("imagenet", small).batch(slice(None))
    assert found[1].tolist() == labels.tolist()
    assert torch.equal(found[0], inputs)


def test_where_to_put_it(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(BenchError, match=r"needs an account .* train/WNID/\*\.JPEG") as caught:
        fetch("imagenet", elsewhere)
    assert str(elsewhere / "imagenet") in str(caught.value)
    for place in (small, small / "imagenet"):
        monkeypatch.setenv(DATA_VARIABLE, str(place))
        fetch("imagenet", elsewhere)
        assert len(load_training("imagenet", elsewhere).train) == 18
    assert SOURCES["imagenet"].files


def remove_a_class(top: Path) -> None:
    (top / "train" / CLASSES[0]).rename(top / "aside")


def remove_an_image(top: Path) -> None:
    next((top / "train" / CLASSES[1]).iterdir()).unlink()


def rename_a_class_of_val(top: Path) -> None:
    (top / "val" / CLASSES[1]).rename(top / "val" / "n99999999")


def flat_without_devkit(top: Path) -> None:
    flat(top.parent)
    (top / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").unlink()


def flat_with_a_damaged_devkit(top: Path) -> None:
    flat(top.parent)
    (top / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").write_bytes(b"junk")


def flat_with_few_labels(top: Path) -> None:
    flat(top.parent)
    truth = top / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("2\n2\n3")


def flat_with_a_class_that_is_no_leaf(top: Path) -> None:
    flat(top.parent)
    truth = top / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("2\n2\n3\n3\n1\n4")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove_a_class, "has 2 folders instead of 3, one for each class; unpack"),
        (remove_an_image, "has 23 images instead of 24; unpack"),
        (rename_a_class_of_val, "has other classes than .*; put its images"),
        (flat_without_devkit, "data is missing or damaged .*; unpack the devkit"),
        (flat_with_a_damaged_devkit, "data is missing or damaged .*; unpack the devkit"),
        (flat_with_few_labels, "has 6 images, and .* 3 labels, instead of 6 of both"),
        (flat_with_a_class_that_is_no_leaf, "names the class n00001740, which train does not"),
    ],
)
def test_what_is_missing_is_said(
    small: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(small / "imagenet")
    with pytest.raises(BenchError, match=sentence):
        fetch("imagenet", small)


def test_grey_and_cmyk_images(small: Path) -> None:
    folder = small / "imagenet" / "val" / CLASSES[0]
    grey, cmyk = sorted(folder.iterdir())
    save(grey, 100, "L")
    save(cmyk, 200, "CMYK")
    raw = load_test("imagenet", small, normalization="none").batch(slice(0, 2))[0]
    assert torch.equal(raw[0, 0], raw[0, 1])
    assert abs(float(raw[0].mean()) - (0.299 * 100 + 0.701 * 128) / 255) < 0.01
    assert abs(float(raw[1, 0].mean()) - 200 / 255) < 0.02
    assert abs(float(raw[1, 1].mean()) - 128 / 255) < 0.02


@pytest.mark.parametrize("kept", [0.6, 0.02, 0.0])
def test_a_damaged_image_is_named(small: Path, kept: float) -> None:
    path = sorted((small / "imagenet" / "train" / CLASSES[2]).iterdir())[3]
    draw = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(draw).save(path, format="JPEG")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    data = load_training("imagenet", small)
    split = data.train if path in data.train.paths else data.validation
    with pytest.raises(BenchError, match=rf"{path.name} is damaged .*; replace it with"):
        list(split.batches([slice(None)]))


def test_random_parts_are_those_of_the_sample_and_the_epoch(small: Path) -> None:
    asked = Augmentation(resized_crop=True, flip=True)
    path = sorted((small / "imagenet" / "train" / CLASSES[0]).iterdir())[0]
    draw = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for path in (small / "imagenet" / "train").rglob("*.JPEG"):
        Image.fromarray(draw).save(path, format="JPEG")
    data = load_training("imagenet", small, augmentation=asked).train
    generator = torch.Generator().manual_seed(0)
    one, two = (
        Augmenter.of_epoch(asked, len(data), generator, torch.device("cpu")) for _ in range(2)
    )
    whole = data.batch(slice(None), one)[0]
    order = torch.randperm(len(data))
    parts = [inputs for inputs, _ in data.batches(order.split(4), one)]
    assert torch.equal(torch.cat(parts), whole[order])
    assert not torch.equal(data.batch(slice(None), two)[0], whole)
    assert not torch.equal(whole[0], whole[1])


def test_a_cell_on_streamed_images_repeats_itself(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "SIDE", 16)
    monkeypatch.setattr(streaming, "RESIZED", 18)
    workload = Workload.model_validate(
        {
            "data": "imagenet",
            "network": {"kind": "ann", "layout": "4C3-MP2-8FC"},
            "recipe": {
                "epochs": 1,
                "batch_size": 8,
                "optimizer": "adam",
                "learning_rate": 0.01,
                "augmentation": {"resized_crop": True, "flip": True},
            },
        }
    )
    spec = RunSpec(
        workload="tiny", settings=workload, method="dense", granularity="none", density=1, seed=0
    )
    first, second = run_cell(spec, small), run_cell(spec, small)
    assert first.status == "ok", first.message
    assert first.spent == {"training": 18}
    assert first.outcome is not None
    assert second.outcome is not None
    assert first.curve[0].train_loss == second.curve[0].train_loss
    assert first.outcome.test_loss == second.outcome.test_loss
