"""DVS-Gesture (Amir et al. 2017, CVPR) as its authors split it: 1,176 / 288 recordings.

The archive holds one recording of each trial, a table with the times of its gestures, and two lists
of training and test trials. A trial has twelve gestures of eleven classes, one of them twice;
tonic's archives, with one file for each trial and class, therefore have fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.common.archives import unpack_together
from pipelines.common.errors import BenchError
from pipelines.data.download import RemoteFile
from pipelines.data.events import Binning, Events
from pipelines.data.sets.aedat3 import read_aedat3
from pipelines.data.splits import Indices, Split, TrainingData, stratified

#: Name and checksum are those of SpikingJelly's `DVS128Gesture`; the page needs a browser.
ARCHIVE = RemoteFile(
    "DvsGesture.tar.gz",
    "md5:8a5c71fb11e24e5ca5b11866ca6c00a1",
    page="https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8/folder/50167556794",
)
_MOST_BYTES = 32 << 30
_UNPACKED = "trials"
_TRAIN, _TEST = "trials_to_train.txt", "trials_to_test.txt"


@dataclass(frozen=True)
class Trials:
    """The recordings of the archive, as an `EventLoader`.

    Parameters
    ----------
    name
        Name of the data set.
    home
        Name of the folder with the archive, which several data sets may share.
    training, test
        Recordings that the two lists must give.
    validation
        Recordings of the validation split, from the training list.
    kept
        Recordings of the test list that make the test split; 0 for all.
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
        """Unpack the archive, which the user has to download.

        Raises
        ------
        BenchError
            If it is missing or damaged, or cannot be unpacked.
        """
        home = folder.parent / self.home
        if (home / _UNPACKED).is_dir():
            return
        archive = ARCHIVE.find(home) or ARCHIVE.fetch(home)
        unpack_together([archive], home / _UNPACKED, most_bytes=_MOST_BYTES)

    def load_training(self, folder: Path, binning: Binning) -> TrainingData:
        """Read train and validation split, both from the training list."""
        whole = self._frames(folder, _TRAIN, self.training, binning)
        validation, train = stratified(self.home, whole.labels.numpy(), (self.validation,))
        return TrainingData(whole.part(train), whole.part(validation), self.classes)

    def load_test(self, folder: Path, binning: Binning) -> Split:
        """Read the test split; called only by `pipelines.training.evaluation`."""
        whole = self._frames(folder, _TEST, self.test, binning)
        return whole.part(self.chosen(whole.labels.numpy())) if self.kept else whole

    def recording(self, folder: Path, number: int) -> tuple[int, Events]:
        """Read label and events of one recording of the training list.

        Raises
        ------
        BenchError
            If there is no recording of this number, or it is damaged.
        """
        for at, (label, events) in enumerate(self._recordings(folder, _TRAIN)):
            if at == number:
                return label, events
        raise BenchError(f"{self.name} has no recording {number}; it has {self.training}")

    def chosen(self, labels: NDArray[np.int64]) -> Indices:
        """Choose the test recordings: of each class those whose numbers have the first hashes."""
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
                f"{listed} gives {len(labels)} recordings of {len(set(labels))} classes instead "
                f"of {wanted} of {self.classes}; delete {folder.parent / self.home / _UNPACKED}, "
                f"then run: dpap-bench fetch {self.name}"
            )
        return Split(torch.from_numpy(frames), torch.tensor(labels))

    def _recordings(self, folder: Path, listed: str) -> Iterator[tuple[int, Events]]:
        """Label and events of each gesture, in the order of the list and the tables."""
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
#: DPAP's paper has 280 and does not say which.
REDUCED = Trials("dvs-gesture-280", "dvs-gesture-288", 1176, 288, validation=118, kept=280)
