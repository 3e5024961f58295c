"""Simulation of an event camera that makes three saccades in front of a still image.

The protocol is that of N-MNIST (Orchard et al. 2015, 10.3389/fnins.2015.00437): a sensor of 34 x 34
pixels and three saccades of 100 ms each along a triangle. A pixel sends an event whenever the
logarithm of its intensity has changed by a threshold since its last event.

The simulation uses integers only, so every machine gets the same events. Positions are in
sixteenths of a pixel; log intensities in steps of 1/4096, from a table of the 256 grey values, are
interpolated bilinearly between pixels; times in microseconds are interpolated linearly between
positions. Noise, a refractory period and differences between pixels are not simulated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.data.events import EVENT, Events

#: Side of the sensor in pixels.
SIDE = 34
#: Corners of the camera's path, (x, y) in sixteenths of a pixel; it is closed.
CORNERS = ((0, 0), (16, 32), (32, 0), (0, 0))
#: Positions from one corner to the next, and the duration.
POSITIONS, SACCADE_MICROSECONDS = 16, 100_000
#: Change of log intensity that causes an event: 0.5, in steps of 1/4096.
THRESHOLD = 2048
#: Intensity of a black pixel, relative to a white one.
BLACK = 0.1

_GRID = 16  # positions per pixel
_LOG = np.array([round(4096 * math.log(BLACK + v / 255)) for v in range(256)], np.int32)


def path() -> list[tuple[int, int, int]]:
    """Positions of the camera: (x, y) in sixteenths of a pixel, and time in microseconds."""
    found = [(*CORNERS[0], 0)]
    for saccade, ((x0, y0), (x1, y1)) in enumerate(pairwise(CORNERS)):
        for i in range(1, POSITIONS + 1):
            x, y = (a + (b - a) * i // POSITIONS for a, b in ((x0, x1), (y0, y1)))
            found.append((x, y, (saccade * POSITIONS + i) * SACCADE_MICROSECONDS // POSITIONS))
    return found


def _view(scene: NDArray[np.int32], x: int, y: int) -> NDArray[np.int32]:
    """Log intensities [N, SIDE, SIDE] seen from position (x, y), times 256."""
    (row, below), (column, right) = divmod(y, _GRID), divmod(x, _GRID)
    total = np.zeros((len(scene), SIDE, SIDE), np.int32)
    for i, share in ((row, _GRID - below), (row + 1, below)):
        for j, part in ((column, _GRID - right), (column + 1, right)):
            if share * part:
                total += scene[:, i : i + SIDE, j : j + SIDE] * (share * part)
    return total


def _scene(images: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Log intensities of the images on a black background, wide enough for every position."""
    reach = max(max(corner) for corner in CORNERS) // _GRID + 1
    height, width = images.shape[1:]
    top, left = (SIDE + reach - height) // 2, (SIDE + reach - width) // 2
    scene = np.full((len(images), SIDE + reach, SIDE + reach), _LOG[0])
    scene[:, top : top + height, left : left + width] = _LOG[images]
    return scene


def simulate(images: NDArray[np.uint8]) -> Iterator[Events]:
    """Simulate a recording of each image.

    Parameters
    ----------
    images
        [N, H, W] grey values; H and W at most `SIDE`.

    Yields
    ------
    Events
        Events of each image, sorted by time, row, column and polarity.
    """
    scene, threshold = _scene(images), THRESHOLD * _GRID * _GRID
    (x, y, before), *rest = path()
    reference = seen = _view(scene, x, y)
    reference = reference.copy()
    found = [tuple(np.empty(0, np.int64) for _ in range(5))]  # for images without events
    for x, y, now in rest:
        last, seen = seen, _view(scene, x, y)
        moved = seen - reference
        crossings = np.abs(moved) // threshold
        places = np.nonzero(crossings)
        count, sign = crossings[places], np.sign(moved[places])
        level, change = reference[places], seen[places] - last[places]
        for k in range(1, int(count.max(initial=0)) + 1):
            more = count >= k
            way = (level + sign * k * threshold - last[places])[more].astype(np.int64)
            time = before + way * (now - before) // change[more]
            found.append((*(p[more] for p in places), sign[more] > 0, time))
        reference[places] += sign * count * threshold
        before = now
    yield from _sorted(found, len(images))


def _sorted(found: list[tuple[NDArray[np.int64], ...]], images: int) -> Iterator[Events]:
    """Sort columns (image, row, column, polarity, time) into recordings."""
    image, row, column, polarity, time = (np.concatenate(c) for c in zip(*found, strict=True))
    order = np.lexsort((polarity, column, row, time, image))
    events: Events = np.empty(len(order), EVENT)
    events["t"], events["x"], events["y"] = time[order], column[order], row[order]
    events["p"] = polarity[order]
    ends = np.cumsum(np.bincount(image, minlength=images))
    yield from np.split(events, ends[:-1])
