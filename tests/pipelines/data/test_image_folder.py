"""Image folders and archives, and what is refused about them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.common.errors import BenchError
from pipelines.data.image_folder import content_of, find_folder, read_folder


def png(value: int, size: tuple[int, int] = (3, 2), mode: str = "L") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 0, 0)).save(out, "PNG")
    return out.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


FILES = {"cat/1.png": png(1), "cat/2.png": png(2), "ant/9.PNG": png(9), "ant/notes.txt": b"x"}


def test_classes_and_files_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    for place in (write(tmp_path / "a", FILES), pack(tmp_path / "a.zip", FILES)):
        found = read_folder(place)
        assert found["inputs"].shape == (3, 1, 2, 3)
        assert found["inputs"][:, 0, 0, 0].tolist() == [9, 1, 2]
        assert found["labels"].tolist() == [0, 1, 1]


def test_one_colour_image_makes_all_of_them_colour_images(tmp_path: Path) -> None:
    found = read_folder(write(tmp_path, FILES | {"cat/3.png": png(5, mode="RGB")}))
    assert found["inputs"].shape == (4, 3, 2, 3)
    assert found["inputs"][3, :, 0, 0].tolist() == [5, 0, 0]


def test_train_and_test_may_be_folders_or_archives(tmp_path: Path) -> None:
    files = {"ant/1.png": png(1), "bee/1.png": png(2)}
    folder = write(tmp_path / "b", {f"train/{name}": x for name, x in files.items()})
    write(folder, {f"test/{name}": x for name, x in files.items()})
    (tmp_path / "c").mkdir()
    pack(tmp_path / "c" / "train.zip", {f"train/{name}": x for name, x in files.items()})
    pack(tmp_path / "c" / "test.zip", files)
    for place in (folder, tmp_path / "c"):
        found = read_folder(place)
        assert found["labels"].tolist() == found["test_labels"].tolist() == [0, 1]
        assert np.array_equal(found["inputs"], found["test_inputs"])


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def class_without_images(folder: Path) -> Path:
    write(folder, FILES)
    (folder / "dog").mkdir()
    return folder


def corrupt_archive(folder: Path) -> Path:
    path = pack(folder.with_suffix(".zip"), FILES)
    path.write_bytes(path.read_bytes()[:120])
    return path


REFUSED: list[tuple[Callable[[Path], Path], str]] = [
    (empty, "has no images; it needs one subfolder of images for each class."),
    (class_without_images, "class 'dog' in .* has no image; add some, or remove the folder."),
    (lambda f: write(f, FILES | {"cat/3.png": png(1, (4, 4))}), "'ant/9.PNG' has 3 x 2 pixels,"),
    (lambda f: write(f, FILES | {"cat/3.png": b"no image"}), "'cat/3.png' of .* is damaged"),
    (lambda f: write(f, FILES | {"3.png": png(1)}), "has the image '3.png' in no subfolder"),
    (corrupt_archive, "cannot read .* as a .tar.gz or .zip archive"),
    (lambda f: pack(f.with_suffix(".zip"), {"../x.png": png(1)}), "contains the unsafe path"),
    (lambda f: write(f, {"train/ant/1.png": png(1)} | FILES), "and beside them|beside nothing"),
    (
        lambda f: write(f, {"train/ant/1.png": png(1), "test/bee/1.png": png(1)}),
        "class 'ant' of .* is in one of 'train' and 'test' only",
    ),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED)
def test_a_bad_folder_is_refused_in_one_sentence(
    make: Callable[[Path], Path], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match=sentence) as refused:
        read_folder(make(tmp_path / "images"))
    assert "\n" not in str(refused.value)


def test_a_folder_is_searched_in_the_project_and_in_the_folder_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").touch()
    (tmp_path / "below").mkdir()
    write(tmp_path / "data" / "pets", FILES)
    monkeypatch.chdir(tmp_path / "below")
    with pytest.raises(BenchError, match=r"there is no 'pets' in the folder of params\.yaml or"):
        find_folder("pets")
    monkeypatch.setenv("DPAP_BENCH_DATA", str(tmp_path / "data"))
    assert find_folder("pets") == tmp_path / "data" / "pets"
    assert find_folder("data/pets") == tmp_path / "data" / "pets"


def test_the_content_changes_with_any_file(tmp_path: Path) -> None:
    first = content_of(write(tmp_path, FILES))
    assert content_of(tmp_path) == first
    write(tmp_path, {"cat/1.png": png(3)})
    assert content_of(tmp_path) != first
