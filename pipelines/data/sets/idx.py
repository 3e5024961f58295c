"""Data sets in four IDX files, the format of MNIST (yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.data.download import obtain, verify
from pipelines.data.images import Images, Part, Published

_PREFIXES: dict[Part, str] = {"training": "train", "test": "t10k"}


@dataclass(frozen=True)
class IdxFiles(Published):
    """Grey images and labels, in a file each for training and test.

    Parameters
    ----------
    files
        File name -> SHA-256 of the uncompressed file.
    mirrors
        Addresses, with the slash at the end, of folders with the gzip-compressed files.
    folders
        Where a system may have the files.
    """

    files: Mapping[str, str]
    mirrors: Sequence[str]
    folders: Sequence[Path] = ()

    def fetch(self, folder: Path) -> None:
        """Get the four files, uncompressed and verified.

        Raises
        ------
        BenchError
            If no source has them.
        """
        for name, content in self.files.items():
            urls = [f"{mirror}{name}.gz" for mirror in self.mirrors]
            obtain(name, content, self.folders, urls, folder / name)

    def read(self, folder: Path, part: Part) -> Images:
        """Read the images and labels of a part.

        Raises
        ------
        BenchError
            If a file is missing or damaged.
        """
        names = [f"{_PREFIXES[part]}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
        for name in names:
            verify(folder / name, self.files[name], self.name)
        pixels, labels = (read_idx(folder / name) for name in names)
        return Images(pixels[:, np.newaxis], labels.astype(np.int64))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    Raises
    ------
    BenchError
        If the header is not one, or the content has another length than it says.
    """
    raw = path.read_bytes()
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise BenchError(f"{path} is no IDX file of bytes; delete it and fetch it again")
    rank = raw[3]
    shape = struct.unpack_from(f">{rank}I", raw, 4) if len(raw) >= 4 + 4 * rank else ()
    if not shape or len(raw) != 4 + 4 * rank + int(np.prod(shape)):
        raise BenchError(f"{path} is truncated; delete it and fetch it again")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
