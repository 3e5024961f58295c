"""CIFAR-10 and CIFAR-100: 60,000 colour images each, from the binary archives.

Krizhevsky 2009, "Learning multiple layers of features from tiny images";
www.cs.toronto.edu/~kriz/cifar.html.

Records are read from the archive by the names of its members: nothing is unpacked to the disk, and
the archives of pickles, which could run code, are never opened.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.common.errors import BenchError
from pipelines.data.download import obtain, verify
from pipelines.data.images import Images, Part, Published

MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class CifarArchive(Published):
    """Colour images of 32 x 32 pixels, in records of labels and pixels.

    Parameters
    ----------
    file
        Name of the archive.
    content
        SHA-256 of the archive.
    mirrors
        Addresses, with the slash at the end, of folders with the archive.
    members
        Which members of the archive hold the records of a part, in their order.
    label_bytes
        Labels before the pixels of a record; the last one is the class.
    """

    file: str
    content: str
    mirrors: Sequence[str]
    members: Mapping[Part, Sequence[str]]
    label_bytes: int

    def fetch(self, folder: Path) -> None:
        """Get the archive, verified.

        Raises
        ------
        BenchError
            If no source has it.
        """
        urls = [f"{mirror}{self.file}" for mirror in self.mirrors]
        obtain(self.file, self.content, (), urls, folder / self.file)

    def read(self, folder: Path, part: Part) -> Images:
        """Read the records of a part.

        Raises
        ------
        BenchError
            If the archive is missing or damaged, or is another one.
        """
        path = folder / self.file
        verify(path, self.content, self.name)
        contents = _contents(path, self.members[part])
        width = self.label_bytes + _PIXELS
        for member, content in contents.items():
            if not content or len(content) % width:
                raise BenchError(
                    f"{member} in {path} has {len(content)} bytes, which are no records "
                    f"of {width}; delete the archive and run: dpap-bench fetch {self.name}"
                )
        raw = b"".join(contents[member] for member in self.members[part])
        records = np.frombuffer(raw, np.uint8).reshape(-1, width)
        return Images(
            records[:, self.label_bytes :].reshape(-1, *_SHAPE),
            records[:, self.label_bytes - 1].astype(np.int64),
        )


def _contents(path: Path, members: Sequence[str]) -> dict[str, bytes]:
    """Contents of members of a gzip-compressed tar archive, read in one pass.

    Raises
    ------
    BenchError
        If the archive cannot be read to its end, or lacks a member.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if member.name in members and (file := archive.extractfile(member)):
                    found[member.name] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise BenchError(
            f"{path} is no whole tar.gz archive ({error}); delete it and fetch it again"
        ) from error
    if missing := [member for member in members if member not in found]:
        raise BenchError(
            f"{path} has no {missing[0]}; it is another archive, perhaps that of the pickles: put "
            f"{path.name}, the binary version, in its place"
        )
    return found


CIFAR_10 = CifarArchive(
    "cifar-10",
    classes=10,
    validation=5000,
    splits=None,
    file="cifar-10-binary.tar.gz",
    # its MD5 on its page is c32a1d4ab5d03f1284b67883e8d87530
    content="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    mirrors=MIRRORS,
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
    file="cifar-100-binary.tar.gz",
    # its MD5 on its page is 03b5dce01913d631647c71ecec9e9cb8
    content="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    mirrors=MIRRORS,
    members={"training": ["cifar-100-binary/train.bin"], "test": ["cifar-100-binary/test.bin"]},
    label_bytes=2,  # one of 20 superclasses, which is not used, before the class
)
