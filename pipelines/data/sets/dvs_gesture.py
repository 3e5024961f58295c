"""DVS-Gesture (Amir et al. 2017, CVPR) as its authors cut it: 1,176 / 288 recordings.

The archive holds a recording of each trial, a table of its gestures with their times, and two
lists of the trials that train and that test. A trial has twelve gestures of eleven classes, one of
them twice, which is why tonic's archives, with one file for each trial and class, have fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.data.download import DATA_VARIABLE, Archive, find_archive, unpack
from pipelines.data.events import Binning, Events
from pipelines.data.sets.aedat3 import read_aedat3
from pipelines.data.splits import Indices, Split, TrainingData, stratified

#: Name and checksum are those of SpikingJelly's `DVS128Gesture`; the page asks for a browser.
ARCHIVE = Archive(
    "DvsGesture.tar.gz",
    "https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8/folder/50167556794",
    "8a5c71fb11e24e5ca5b11866ca6c00a1",
)
_UNPACKED = "trials"
_TRAIN, _TEST = "trials_to_train.txt", "trials_to_test.txt"


@dataclass(frozen=True)
class Trials:
    """The recordings of the archive; what a data module of recordings offers.

    Parameters
    ----------
    name
        Of the data set.
    home
        Name of the folder with the archive, which several data sets may share.
    training, test
        Recordings that the two lists must give.
    validation
        Recordings of the validation split, from the training list.
    kept
        Recordings of the test list that are the test split; all, if 0.
    """

    name: str
    home: str
    training: int
    test: int
    validation: int
    kept: int = 0
    classes: int = 11
    SENSOR: tuple[int, int] = (128, 128)

    def fetch(self, folder: Path) -> None:
        """Unpack the archive, which must be put there by hand.

        Raises
        ------
        BenchError
            If it is missing, damaged, or cannot be unpacked.
        """
        home = folder.parent / self.home
        if (home / _UNPACKED).is_dir():
            return
        archive = find_archive(ARCHIVE, home)
        if archive is None:
            raise BenchError(
                f"{ARCHIVE.name} cannot be downloaded by a program: get it from {ARCHIVE.url}, put "
                f"it at {home / ARCHIVE.name}, or into a folder that {DATA_VARIABLE} names, and "
                "run the same command again."
            )
        unpack([archive], home / _UNPACKED)

    def load_training(self, folder: Path, binning: Binning) -> TrainingData:
        """Train and validation split, both from the training list."""
        whole = self._frames(folder, _TRAIN, self.training, binning)
        validation, train = stratified(self.home, whole.labels.numpy(), (self.validation,))
        return TrainingData(whole.part(train), whole.part(validation), self.classes)

    def load_test(self, folder: Path, binning: Binning) -> Split:
        """The test list, or the part that is kept; for `pipelines.training.evaluation` alone."""
        whole = self._frames(folder, _TEST, self.test, binning)
        return whole.part(self.chosen(whole.labels.numpy())) if self.kept else whole

    def recording(self, folder: Path, number: int) -> tuple[int, Events]:
        """Label and events of one recording of the training list.

        Raises
        ------
        BenchError
            If there is none of this number, or it is damaged.
        """
        for at, (label, events) in enumerate(self._recordings(folder, _TRAIN)):
            if at == number:
                return label, events
        raise BenchError(f"{self.name} has no recording {number}; it has {self.training}")

    def chosen(self, labels: NDArray[np.int64]) -> Indices:
        """Test recordings that are kept: of each class those whose numbers' hashes come first."""
        return stratified(self.name, labels, (self.kept,))[0]

    def _frames(self, folder: Path, listed: str, wanted: int, binning: Binning) -> Split:
        frames = np.empty((wanted, *binning.shape(*self.SENSOR)), np.uint8)
        labels: list[int] = []
        for label, events in self._recordings(folder, listed):
            if len(labels) < wanted:
                frames[len(labels)] = binning.frames(events, *self.SENSOR)
            labels.append(label)
        if len(labels) != wanted or not set(labels) <= set(range(self.classes)):
            raise BenchError(
                f"{listed} leads to {len(labels)} recordings of {len(set(labels))} classes instead "
                f"of {wanted} of {self.classes}; delete {folder.parent / self.home / _UNPACKED}, "
                f"then run: dpap-bench fetch {self.name}"
            )
        return Split(torch.from_numpy(frames), torch.tensor(labels))

    def _recordings(self, folder: Path, listed: str) -> Iterator[tuple[int, Events]]:
        """Label and events of each gesture, in the order of the list and of the tables."""
        top = folder.parent / self.home / _UNPACKED / "DvsGesture"
        try:
            trials = [Path(line).stem for line in (top / listed).read_text().split()]
            for trial in trials:
                table = np.loadtxt(top / f"{trial}_labels.csv", np.int64, delimiter=",", skiprows=1)
                events = read_aedat3(top / f"{trial}.aedat")
                for label, start, stop in table.reshape(-1, 3):
                    yield int(label) - 1, events[(events["t"] >= start) & (events["t"] < stop)]
        except (OSError, ValueError) as error:
            raise BenchError(
                f"the trials in {top} are missing or damaged ({error}); delete {top.parent}, then "
                f"run: dpap-bench fetch {self.name}"
            ) from error


OFFICIAL = Trials("dvs-gesture-288", "dvs-gesture-288", 1176, 288, validation=118)
#: DPAP's paper has 280, and does not say which.
REDUCED = Trials("dvs-gesture-280", "dvs-gesture-288", 1176, 288, validation=118, kept=280)
