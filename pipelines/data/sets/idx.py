"""The IDX format of MNIST (yann.lecun.com/exdb/mnist), and data sets of four such files."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.data.download import RemoteFile
from pipelines.data.images import ImageDataset, Images, Part

_PREFIXES: dict[Part, str] = {"training": "train", "test": "t10k"}


@dataclass(frozen=True)
class IdxFiles(ImageDataset):
    """Grey images: one file of images and one of labels for each of training and test.

    Parameters
    ----------
    files
        File name -> SHA-256 of the uncompressed file.
    mirrors
        Addresses, with a slash at the end, of folders with the gzip-compressed files.
    folders
        Folders of the system that may hold the files.
    """

    files: Mapping[str, str]
    mirrors: Sequence[str]
    folders: Sequence[Path] = ()

    def fetch(self, folder: Path) -> None:
        """Put the four files into `folder`, uncompressed and verified.

        Raises
        ------
        BenchError
            If a file cannot be had.
        """
        for name in self.files:
            self._file(name).fetch(folder)

    def read(self, folder: Path, part: Part) -> Images:
        """Read the images and labels of a part.

        Raises
        ------
        BenchError
            If a file is missing or damaged.
        """
        names = [f"{_PREFIXES[part]}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
        paths = [self._file(name).verify(folder, self.name) for name in names]
        pixels, labels = map(read_idx, paths)
        return Images(pixels[:, np.newaxis], labels.astype(np.int64))

    def _file(self, name: str) -> RemoteFile:
        urls = tuple(f"{mirror}{name}.gz" for mirror in self.mirrors)
        checksum = f"sha256:{self.files[name]}"
        return RemoteFile(name, checksum, urls, gzipped=True, folders=self.folders)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    Raises
    ------
    BenchError
        If the header is wrong, or the content has another length than the header says.
    """
    raw = path.read_bytes()
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise BenchError(f"{path} is not an IDX file of bytes; delete it and fetch it again")
    rank = raw[3]
    shape = struct.unpack_from(f">{rank}I", raw, 4) if len(raw) >= 4 + 4 * rank else ()
    if not shape or len(raw) != 4 + 4 * rank + int(np.prod(shape)):
        raise BenchError(f"{path} is truncated; delete it and fetch it again")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
