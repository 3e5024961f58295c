"""The simulated event camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.data.sets import saccades as eye


def reference(image: NDArray[np.uint8]) -> list[tuple[int, int, int, bool]]:
    """One pixel after another, in floating point: events (t, y, x, p) of the saccades."""
    reach = max(max(c) for c in eye.CORNERS) // 16 + 1
    wide = eye.SIDE + reach
    scene = np.full((wide, wide), 0, np.uint8)
    top, left = (wide - image.shape[0]) // 2, (wide - image.shape[1]) // 2
    scene[top : top + image.shape[0], left : left + image.shape[1]] = image
    log = np.round(4096 * np.log(eye.BLACK + scene / 255))

    def at(row: int, column: int, x: int, y: int) -> float:
        r, c, f, g = row + y // 16, column + x // 16, y % 16 / 16, x % 16 / 16
        upper = log[r, c] * (1 - g) + (log[r, c + 1] * g if g else 0)
        lower = (log[r + 1, c] * (1 - g) + (log[r + 1, c + 1] * g if g else 0)) if f else 0
        return float(upper * (1 - f) + lower * f)

    found = []
    for row in range(eye.SIDE):
        for column in range(eye.SIDE):
            (x, y, before), *rest = eye.path()
            level = last = at(row, column, x, y)
            for x, y, now in rest:
                seen = at(row, column, x, y)
                while abs(seen - level) >= eye.THRESHOLD:
                    level += np.sign(seen - level) * eye.THRESHOLD
                    share = (level - last) / (seen - last)
                    time = before + int(np.floor(share * (now - before)))
                    found.append((time, row, column, bool(seen > last)))
                last, before = seen, now
    return sorted(found)


def test_the_simulation_against_one_pixel_at_a_time() -> None:
    draw = np.random.default_rng(0)
    images = np.stack(
        [draw.integers(0, 256, (9, 9), dtype=np.uint8), np.full((9, 9), 255, np.uint8)]
    )
    for image, events in zip(images, eye.simulate(images), strict=True):
        mine = [(int(e["t"]), int(e["y"]), int(e["x"]), bool(e["p"])) for e in events]
        assert len(mine) > 100
        assert mine == reference(image)


def test_the_eye_comes_back() -> None:
    """A path that ends where it began makes a pixel as bright as it was: as many up as down."""
    path = eye.path()
    assert path[0][:2] == path[-1][:2]
    assert path[-1][2] == 300_000
    image = np.random.default_rng(1).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    (events,) = eye.simulate(image)
    assert 0 <= events["t"].min() <= events["t"].max() <= 300_000
    assert abs(2 * int(events["p"].sum()) - len(events)) < 0.02 * len(events)
    (nothing,) = eye.simulate(np.zeros((1, 28, 28), np.uint8))
    assert len(nothing) == 0
