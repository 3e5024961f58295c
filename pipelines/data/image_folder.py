"""Image folders: a folder or archive with one subfolder of images for each class."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.common.archives import members, open_zip
from pipelines.common.errors import BenchError, InputError
from pipelines.common.factory import project_folder, short
from pipelines.common.files import sha256
from pipelines.data.download import DATA_VARIABLE

#: Names of the parts, if the data come with a test part.
PARTS = ("train", "test")
_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_GREY = ("1", "L", "LA")
#: Limit of all pixels: they are kept in memory.
MOST_BYTES = 4 << 30


def find_folder(folder: str) -> Path:
    """Find an image folder: in the folder of params.yaml, then in that of DPAP_BENCH_DATA.

    Raises
    ------
    InputError
        If it is in neither.
    """
    own = os.environ.get(DATA_VARIABLE)
    places = [project_folder(), *([Path(own)] if own else [])]
    for place in places:
        if (place / folder).exists():
            return place / folder
    raise InputError(
        f"there is no '{folder}' in the folder of params.yaml or in that of {DATA_VARIABLE}; put "
        "the images there, or correct 'images' of the workload."
    )


def content_of(folder: Path) -> str:
    """Return a digest of all files of an image folder; files are read again only if they change."""
    files = [folder] if folder.is_file() else sorted(x for x in folder.rglob("*") if x.is_file())
    stamps = ((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return _content(folder, tuple(stamps))


@lru_cache(maxsize=16)
def _content(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    total = hashlib.sha256()
    for file, _, _ in stamps:
        name = file.relative_to(folder).as_posix() if file != folder else file.suffix
        total.update(f"{name}\0{sha256(file)}\n".encode())
    return total.hexdigest()


def read_folder(folder: Path) -> dict[str, NDArray[Any]]:
    """Decode all images of a folder or archive.

    Parameters
    ----------
    folder
        Has one subfolder for each class; or ``train`` and ``test``, folders or ``.zip`` files of
        this form.

    Returns
    -------
    dict
        ``inputs`` [N, C, H, W] uint8 and ``labels`` [N], in the order of classes and file names;
        with a test part, also ``test_inputs`` and ``test_labels``. C is 1 if all images are grey.

    Raises
    ------
    BenchError
        If there are no images, a class has none, an image or archive is damaged, an archive has
        unsafe paths, or images have different sizes.
    """
    found: dict[tuple[str, str], list[tuple[str, Image.Image]]] = {}
    total, first = 0, ("", (0, 0))
    for name, content in _files(folder):
        parts = PurePosixPath(name).parts
        if content is None:
            if len(parts) > 1 or parts[0] not in PARTS:
                found.setdefault(_place(parts), [])
            continue
        if len(parts) < 2:
            raise InputError(
                f"{folder} has the image '{name}' in no subfolder; put each image into a subfolder "
                "that has the name of its class."
            )
        image = _decoded(folder, name, content)
        first = first if first[0] else (name, image.size)
        if image.size != first[1]:
            raise InputError(
                f"{folder} has images of different sizes: '{first[0]}' has {_size(first[1])} "
                f"pixels, '{name}' has {_size(image.size)}; resize them to one size."
            )
        total += image.width * image.height * 3
        if total > MOST_BYTES:
            raise InputError(f"{folder} has more than {MOST_BYTES >> 30} GB of pixels; use fewer.")
        found.setdefault(_place((*parts[:-1],)), []).append((name, image))
    return _arrays(folder, found)


def _place(folders: tuple[str, ...]) -> tuple[str, str]:
    """Return part and class of the images in a folder."""
    part = next((name for name in folders[:-1] if name in PARTS), "")
    return part, folders[-1]


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _arrays(
    folder: Path, found: dict[tuple[str, str], list[tuple[str, Image.Image]]]
) -> dict[str, NDArray[Any]]:
    # A folder that has subfolders with images holds classes and is none.
    classes = {place: images for place, images in found.items() if place[1] not in PARTS}
    if not any(classes.values()):
        raise InputError(
            f"{folder} has no images; it needs one subfolder of images for each class."
        )
    for (part, name), images in sorted(classes.items()):
        if not images:
            where = f" of {part}" if part else ""
            raise InputError(
                f"class '{name}'{where} in {folder} has no image; add some, or remove the folder."
            )
    parts = sorted({part for part, _ in classes}, key=[*PARTS, ""].index)
    if (len(parts) == 2 and parts != list(PARTS)) or parts == ["test"]:
        raise InputError(
            f"{folder} must have both folders 'train' and 'test', or neither, beside nothing else."
        )
    names = {part: sorted(name for where, name in classes if where == part) for part in parts}
    for part in parts[1:]:
        odd = sorted(set(names[part]) ^ set(names[parts[0]]))
        if odd:
            raise InputError(f"class '{odd[0]}' of {folder} is in one of 'train' and 'test' only.")
    grey = all(x.mode in _GREY for images in classes.values() for _, x in images)
    arrays: dict[str, NDArray[Any]] = {}
    for part in parts:
        prefix = "test_" if part == "test" else ""
        pixels, labels = [], []
        for label, name in enumerate(names[part]):
            for _, image in sorted(classes[part, name], key=lambda pair: pair[0]):
                array = np.asarray(image.convert("L" if grey else "RGB"))
                pixels.append(array[None] if grey else array.transpose(2, 0, 1))
                labels.append(label)
        arrays[f"{prefix}inputs"] = np.stack(pixels)
        arrays[f"{prefix}labels"] = np.array(labels, np.int64)
    return arrays


def _decoded(folder: Path, name: str, content: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return image.convert("L" if image.mode in _GREY else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BenchError(
            f"image '{name}' of {folder} is damaged ({short(error)}); replace or remove it."
        ) from error


def _files(folder: Path) -> Iterator[tuple[str, bytes | None]]:
    """Yield path and content of each image, and path and None of each folder."""
    if folder.is_file():
        yield from _archived(folder, "")
        return
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            if not any(child.is_dir() for child in path.iterdir()):
                yield name, None
        elif name.removesuffix(".zip") in PARTS and path.suffix == ".zip":
            yield from _archived(path, path.stem)
        elif path.suffix.lower() in _ENDINGS:
            yield name, path.read_bytes()


def _archived(path: Path, part: str) -> Iterator[tuple[str, bytes | None]]:
    """Yield what an archive has, as `_files` does; below the folder `part`, if it has a name."""

    def place(name: str) -> str:
        inside = PurePosixPath(name)
        return str(inside if not part or part in inside.parts else PurePosixPath(part) / inside)

    folders: set[str] = set()
    for name, _, chunks in members(path):
        folders.update(str(x) for x in PurePosixPath(name).parents)
        content = b"".join(chunks)
        if PurePosixPath(name).suffix.lower() in _ENDINGS:
            yield place(name), content
    with open_zip(path) as archive:
        empty = {x.rstrip("/") for x in archive.namelist() if x.endswith("/")} - folders
    for name in sorted(empty):
        if not any(other.startswith(f"{name}/") for other in empty):
            yield place(name), None
