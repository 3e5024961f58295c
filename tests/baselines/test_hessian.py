"""Second-order saliency, by hand."""

from __future__ import annotations

import pytest

from baselines.hessian import Hessian
from tests.helpers.methods import (
    TwoExamples,
    begin,
    constant_network,
)


def test_score_uses_the_diagonal_fisher_over_all_samples() -> None:
    scores = begin(Hessian(samples=2), constant_network(), probe=TwoExamples()).unit_scores()
    # w^2 E[g^2] / 2 with w = 2: nine entries of the filter, four columns of neuron 0
    assert scores["conv1"].tolist() == [9 * 4 * 0.5 / 2 + 4 * 4 * 0.5 / 2, 9 * 4 + 4 * 4]
    assert scores["fc1"].tolist() == [4 * 1 + 4 * 4, 4 * (9 + 16) / 2 / 2]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="samples"):
        Hessian(samples=0)
