"""Preview of a recording."""

from __future__ import annotations

import numpy as np

from pipelines.data import preview
from tests.helpers.event_files import events_of


def test_a_picture_shows_where_and_when() -> None:
    events = events_of((0, 1, 0, 1), (90, 2, 1, 0), (95, 2, 1, 0))
    drawn = preview.strip(events, 2, 3, frames=2)
    assert drawn.shape == (2 * 5 + 4, 2 * (3 * 5 + 2) + 2, 3)
    once, twice = drawn[2, 2 + 5], drawn[2 + 5, 2 + 17 + 10]  # frames 0 and 1
    assert once.tolist() == [(255 + c) // 2 for c in preview.BRIGHTER]
    assert (np.abs(twice.astype(int) - (255 * 0.25 + 0.75 * np.array(preview.DARKER))) <= 1).all()
    assert (drawn == 255).all(2).sum() == (2 * 6 - 2) * 25
