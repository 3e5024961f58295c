"""LAMP scores, by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.shared.lamp_scores import lamp, over_larger


def test_squares_over_the_larger_squares() -> None:
    scores = lamp(torch.tensor([[1.0, -2.0], [3.0, 0.0]]))
    torch.testing.assert_close(
        scores, torch.tensor([[1 / 14, 4 / 13], [1.0, 0.0]], dtype=torch.float64)
    )
    assert lamp(torch.zeros(2, 2)).tolist() == [[0, 0], [0, 0]]


def test_equal_scores_get_equal_values() -> None:
    assert over_larger(torch.tensor([2.0, 1.0, 2.0, 1.0])).tolist() == pytest.approx(
        [2 / 4, 1 / 6, 2 / 4, 1 / 6]
    )


def test_negative_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="use another scope"):
        over_larger(torch.tensor([1.0, -1.0]))
