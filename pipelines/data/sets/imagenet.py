"""ImageNet (ILSVRC 2012, Russakovsky et al. 2015, arXiv 1409.0575), in its own folders.

Downloading needs an account at image-net.org, so the user does it. Images are normalised by the
documented constants: computing them would decode every image once before each run, for a difference
in the third digit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipelines.common.errors import BenchError
from pipelines.data.download import DATA_VARIABLE
from pipelines.data.normalizer import IMAGENET as CONSTANTS
from pipelines.data.normalizer import Normalizer, normalizers
from pipelines.data.splits import Indices, TrainingData, stratified
from pipelines.data.streaming import ImageFiles
from pipelines.settings.workload import Normalization

_DEVKIT = Path("ILSVRC2012_devkit_t12") / "data"
_TRUTH, _META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
LAYOUT = (
    "train/WNID/*.JPEG, and the official validation images as val/WNID/*.JPEG, or as val/*.JPEG "
    f"with {_DEVKIT} beside"
)


@dataclass(frozen=True)
class ImageFolders:
    """Images in one folder for each class, named by its WordNet number.

    Classes are in the order of these names. The test split is the official validation part, whose
    labels are public; validation images are taken from the training images, the same share of
    every class, in the order of the hashes of their numbers.

    Parameters
    ----------
    name
        Name of the data set, and salt of its split.
    classes
        Number of classes.
    training, test
        Images in the two official parts.
    validation
        Number of validation images.
    """

    name: str
    classes: int
    training: int
    test: int
    validation: int

    def fetch(self, folder: Path) -> None:
        """Check that the folders are there and complete.

        Raises
        ------
        BenchError
            If not, with what to put where.
        """
        top = self._top(folder)
        self._train(top)
        self._test(top)

    def load_training(self, folder: Path, normalization: Normalization = "data") -> TrainingData:
        """Read train and validation split."""
        paths, labels = self._train(self._top(folder))
        validation, train = stratified(self.name, labels, (self.validation,))
        training, held_out = normalizers(normalization, 255, *CONSTANTS)
        return TrainingData(
            _files(paths, labels, train, training),
            _files(paths, labels, validation, held_out),
            self.classes,
        )

    def load_test(self, folder: Path, normalization: Normalization = "data") -> ImageFiles:
        """Read the official validation part; called only by `pipelines.training.evaluation`."""
        paths, labels = self._test(self._top(folder))
        _, held_out = normalizers(normalization, 255, *CONSTANTS)
        return _files(paths, labels, np.arange(len(paths)), held_out)

    def _top(self, folder: Path) -> Path:
        own = os.environ.get(DATA_VARIABLE)
        places = [folder, *([Path(own) / self.name, Path(own)] if own else [])]
        for place in places:
            if (place / "train").is_dir() and (place / "val").is_dir():
                return place
        raise BenchError(
            f"{self.name} needs an account at image-net.org, so download it yourself: unpack it to "
            f"{folder}, or to a folder that you name in {DATA_VARIABLE}, as {LAYOUT}"
        )

    def _train(self, top: Path) -> tuple[list[Path], Indices]:
        names = _folders(top / "train")
        if len(names) != self.classes:
            raise BenchError(
                f"{top / 'train'} has {len(names)} folders instead of {self.classes}, one for each "
                "class; unpack the training archives again"
            )
        return self._listed(top / "train", names, self.training)

    def _test(self, top: Path) -> tuple[list[Path], Indices]:
        names, folder = _folders(top / "train"), top / "val"
        found = _folders(folder)
        if found and found != names:
            raise BenchError(
                f"{folder} has other classes than {top / 'train'}; put its images into the folders "
                "of their classes, or remove the folders"
            )
        if found:
            return self._listed(folder, names, self.test)
        paths = _images(folder)
        labels = [names.index(name) for name in _devkit(top / _DEVKIT, names)]
        if not len(paths) == len(labels) == self.test:
            raise BenchError(
                f"{folder} has {len(paths)} images, and {_TRUTH} {len(labels)} labels, instead of "
                f"{self.test} of both; unpack the validation archive and the devkit again"
            )
        return paths, np.array(labels, np.int64)

    def _listed(
        self, folder: Path, names: Sequence[str], wanted: int
    ) -> tuple[list[Path], Indices]:
        """List all images in the folders of the classes, class by class, and their labels."""
        images = [_images(folder / name) for name in names]
        paths = [path for part in images for path in part]
        if len(paths) != wanted:
            raise BenchError(
                f"{folder} has {len(paths)} images instead of {wanted}; unpack its archive again"
            )
        return paths, np.repeat(np.arange(len(names)), [len(part) for part in images])


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _images(folder: Path) -> list[Path]:
    names = sorted(entry.name for entry in os.scandir(folder))
    return [folder / name for name in names if name.lower().endswith((".jpeg", ".jpg"))]


def _files(
    paths: Sequence[Path], labels: Indices, chosen: Indices, normalizer: Normalizer
) -> ImageFiles:
    part = [paths[number] for number in chosen]
    return ImageFiles(part, torch.from_numpy(labels[chosen]), normalizer)


def _devkit(folder: Path, names: Sequence[str]) -> list[str]:
    """WordNet number of each validation image, ordered by the images' names.

    Raises
    ------
    BenchError
        If the devkit is missing or damaged.
    """
    from scipy.io import loadmat  # slow to import, seldom needed
    from scipy.io.matlab import MatReadError

    try:
        synsets = loadmat(folder / _META, squeeze_me=True)["synsets"]
        by_number = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets}
        found = [by_number[int(line)] for line in (folder / _TRUTH).read_text().split()]
    except (OSError, KeyError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise BenchError(
            f"{folder} is missing or damaged ({error}), so the classes of the images in val are "
            "not known; unpack the devkit (task 1 and 2), or put the images into folders named by "
            "their classes"
        ) from error
    if strange := set(found) - set(names):
        raise BenchError(f"{folder} names the class {min(strange)}, which train does not have")
    return found


IMAGENET = ImageFolders(
    "imagenet", classes=1000, training=1_281_167, test=50_000, validation=50_000
)
