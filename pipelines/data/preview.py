"""Preview of one sample: an image, or a recording as a strip of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.common.files import atomic_file
from pipelines.data.events import Binning, Events

#: Colours of darker and brighter events, distinct for colour-blind people.
DARKER, BRIGHTER = (0, 114, 178), (213, 94, 0)
_SCALE, _GAP, _PER_ROW = 5, 2, 6


def strip(events: Events, height: int, width: int, frames: int) -> NDArray[np.uint8]:
    """Draw frames of equal duration side by side, six in a row.

    Returns
    -------
    array
        [rows, columns, 3]: white without events, blue for darker and orange for brighter events;
        more events give a stronger colour.
    """
    counts = Binning(frames, "time", "counts").frames(events, height, width).astype(float)
    strength = 1 - 0.5 ** counts[:, :, :, :, None]
    white = np.full((frames, height, width, 3), 255.0)
    for polarity, colour in enumerate((DARKER, BRIGHTER)):
        white += strength[:, polarity] * (np.array(colour) - 255.0)
    return tile(white.clip(0, 255).astype(np.uint8))


def tile(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Arrange pictures [N, height, width, 3] in rows of six, separated by grey lines."""
    number, height, width, _ = pictures.shape
    columns = min(number, _PER_ROW)
    rows = -(-number // columns)
    down, across = height * _SCALE + _GAP, width * _SCALE + _GAP
    sheet = np.full((rows * down + _GAP, columns * across + _GAP, 3), 200, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * down + _GAP, i % columns * across + _GAP
        large = picture.repeat(_SCALE, 0).repeat(_SCALE, 1)
        sheet[top : top + height * _SCALE, left : left + width * _SCALE] = large
    return sheet


def grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw an image [C, H, W], C being 1 or 3, scaled from its smallest to its largest value."""
    low, high = float(image.min()), float(image.max())
    levels = ((image - low) / (high - low or 1.0) * 255).round().astype(np.uint8)
    return tile(np.broadcast_to(levels.transpose(1, 2, 0), (*levels.shape[1:], 3))[None])


def write_png(picture: NDArray[np.uint8], path: Path) -> None:
    """Write a picture [rows, columns, 3]."""
    with atomic_file(path) as file:
        Image.fromarray(picture).save(file, format="PNG", optimize=True)
