"""Survival and the normalisation of importance, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from dpap.survival import SurvivalRule, normalized


def test_survival_by_hand() -> None:
    rule = SurvivalRule(epsilon=1.5, eta=10.0, bonus=2.0, gamma=0.9)
    before, importance = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.0, 5.0, 10.0])
    after = rule.update(before, importance, age=10)
    # delta = 2 * [0, 0.5, 1] - 1.5 = [-1.5, -0.5, 0.5]. The last unit gets the bonus of 2.
    factor = math.exp(-1)
    wanted = [0.9 - 1.5 * factor, 0.9 - 0.5 * factor, 0.9 + 2.5 * factor]
    torch.testing.assert_close(after, torch.tensor(wanted))
    stairs = replace(rule, decay="staircase")
    torch.testing.assert_close(stairs.update(before, importance, age=19), torch.tensor(wanted))
    edge = SurvivalRule(epsilon=1.0, eta=1.0, bonus=2.0)
    one = torch.zeros(3)
    assert edge.update(one, importance, 0)[1] == 2, "the paper adds the bonus at 0"
    assert replace(edge, bonus_at_zero=False).update(one, importance, 0)[1] == 0, (
        "the code does not"
    )


def test_percentile_by_hand() -> None:
    # The 75th percentile of 0, 1, 2, 3, 10 is 3.
    scaled = normalized(torch.tensor([10.0, 0.0, 3.0, 1.0, 2.0]), "percentile")
    torch.testing.assert_close(scaled, torch.tensor([1.0, 0.0, 1.0, 1 / 3, 2 / 3]))
    assert normalized(torch.tensor([0.0, 0.0, 0.0, 0.0, 5.0]), "percentile").tolist() == [0] * 4 + [
        1
    ]
    rng = torch.rand(101, generator=torch.Generator().manual_seed(0))
    wanted = (rng - rng.min()) / (rng.quantile(0.75) - rng.min())
    torch.testing.assert_close(normalized(rng, "percentile"), wanted.clamp(0, 1))


def test_equal_importance_is_one_half() -> None:
    assert normalized(torch.zeros(4)).tolist() == [0.5] * 4
