"""CIFAR-10 and CIFAR-100: 60,000 colour images each, from the binary archives.

Krizhevsky 2009, "Learning multiple layers of features from tiny images";
www.cs.toronto.edu/~kriz/cifar.html.

Images are read from the archive without unpacking it to disk. The archives of pickles, which could
run code, are never opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.common.archives import members
from pipelines.common.errors import BenchError
from pipelines.data.download import RemoteFile
from pipelines.data.images import ImageDataset, Images, Part

_MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class CifarArchive(ImageDataset):
    """Colour images of 32 x 32 pixels, stored as records of labels and pixels.

    Parameters
    ----------
    archive
        The ``.tar.gz`` archive.
    members
        Part -> files of the archive that hold its records, in order.
    label_bytes
        Labels before the pixels of a record; the last one is the class.
    """

    archive: RemoteFile
    members: Mapping[Part, Sequence[str]]
    label_bytes: int

    def fetch(self, folder: Path) -> None:
        """Put the verified archive into `folder`.

        Raises
        ------
        BenchError
            If it cannot be had.
        """
        self.archive.fetch(folder)

    def read(self, folder: Path, part: Part) -> Images:
        """Read the records of a part.

        Raises
        ------
        BenchError
            If the archive is missing or damaged, or is another one.
        """
        path = self.archive.verify(folder, self.name)
        contents = _contents(path, self.members[part])
        width = self.label_bytes + _PIXELS
        for member, content in contents.items():
            if not content or len(content) % width:
                raise BenchError(
                    f"{member} in {path} has {len(content)} bytes, which are not records "
                    f"of {width}; delete the archive and run: dpap-bench fetch {self.name}"
                )
        raw = b"".join(contents[member] for member in self.members[part])
        records = np.frombuffer(raw, np.uint8).reshape(-1, width)
        return Images(
            records[:, self.label_bytes :].reshape(-1, *_SHAPE),
            records[:, self.label_bytes - 1].astype(np.int64),
        )


def _contents(path: Path, wanted: Sequence[str]) -> dict[str, bytes]:
    """Contents of some files of an archive, read in one pass.

    Raises
    ------
    BenchError
        If the archive is damaged, or lacks one of the files.
    """
    found = {name: b"".join(content) for name, _, content in members(path) if name in wanted}
    if missing := [name for name in wanted if name not in found]:
        raise BenchError(
            f"{path} has no {missing[0]}; it is another archive, perhaps that of the pickles: put "
            f"{path.name}, the binary version, in its place"
        )
    return found


def _archive(name: str, sha256: str) -> RemoteFile:
    return RemoteFile(name, f"sha256:{sha256}", tuple(mirror + name for mirror in _MIRRORS))


CIFAR_10 = CifarArchive(
    "cifar-10",
    classes=10,
    validation=5000,
    splits=None,
    archive=_archive(  # the MD5 on its page is c32a1d4ab5d03f1284b67883e8d87530
        "cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
    members={
        "training": [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)],
        "test": ["cifar-10-batches-bin/test_batch.bin"],
    },
    label_bytes=1,
)
CIFAR_100 = CifarArchive(
    "cifar-100",
    classes=100,
    validation=5000,
    splits=None,
    archive=_archive(  # the MD5 on its page is 03b5dce01913d631647c71ecec9e9cb8
        "cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
    members={"training": ["cifar-100-binary/train.bin"], "test": ["cifar-100-binary/test.bin"]},
    label_bytes=2,  # the class follows one of 20 superclasses, which is not used
)
