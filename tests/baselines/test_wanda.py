"""Wanda scores, by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.shared.activity import Activity
from baselines.wanda import Wanda, row_ranks
from tests.helpers.methods import begin, constant_network


def _observed(pruner: Wanda) -> Wanda:
    net = constant_network("snn", layout="2C3-2FC")
    begun: Wanda = begin(pruner, net, "unstructured")
    image, spikes = torch.full((1, 2, 1, 2, 2), 3.0), torch.zeros(3, 2, 8)
    spikes[0, :, 0] = 1  # input 0 fires in one of three steps, input 1 always
    spikes[:, :, 1] = 1
    begun.observe(Activity({"conv1": (image, image), "fc1": (spikes, spikes)}))
    return begun


def test_a_score_is_the_magnitude_times_the_norm_of_the_input() -> None:
    scores = _observed(Wanda(per_output=False)).weight_scores()
    # The square of 3 summed over 4 positions is 36; all weights are 2.
    assert scores["conv1"].unique().tolist() == [12]
    assert scores["fc1"][0].tolist() == pytest.approx([2 * (1 / 3) ** 0.5, 2, 0, 0, 0, 0, 0, 0])


def test_the_norm_is_a_moving_average_of_squares_in_one_step_of_16() -> None:
    pruner = _observed(Wanda(momentum=0.75, per_output=False))
    silent = torch.zeros(3, 2, 8)
    for step in range(2, 18):
        image = torch.zeros(1, 2, 1, 2, 2)
        pruner.observe(Activity({"conv1": (image, image), "fc1": (silent, silent)}))
        assert float(pruner.power["fc1"][1]) == (0.75 if step == 17 else 1)


def test_weights_of_one_output_are_compared_and_equal_scores_share_a_rank() -> None:
    ranks = row_ranks(torch.tensor([[1.0, 9.0, 3.0, 3.0], [0.0, 0.0, 0.2, 0.1]]))
    assert ranks.tolist() == [[0, 0.75, 0.25, 0.25], [0, 0, 0.75, 0.5]]
    assert _observed(Wanda()).weight_scores()["fc1"][0].tolist() == [0.75, 0.875, *[0] * 6]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="momentum"):
        Wanda(momentum=1.0)
