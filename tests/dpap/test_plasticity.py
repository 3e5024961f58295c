"""Plasticity rules and the sliding threshold, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dpap.plasticity import SlidingThreshold, bcm, hebb, stdp


def test_each_slot_has_its_own_threshold() -> None:
    threshold = SlidingThreshold("slot")
    assert threshold.slide(torch.tensor([[[2.0], [4.0]]])).tolist() == [[[0.0], [0.0]]]
    threshold.slide(torch.tensor([[[4.0]]]))  # a smaller batch
    assert threshold.slide(torch.zeros(1, 3, 1)).tolist() == [[[3.0], [4.0], [0.0]]]


@pytest.mark.parametrize("per", ["unit", "slot"])
def test_many_batches_at_once_equal_one_after_another(per: Any) -> None:
    posts = torch.rand(5, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    one, many = SlidingThreshold(per), SlidingThreshold(per)
    singly = torch.cat([one.slide(post[None]) for post in posts])
    torch.testing.assert_close(many.slide(posts), singly)
    means = posts.mean(1, keepdim=True) if per == "unit" else posts
    torch.testing.assert_close(singly[3], means[:3].mean(0))
    torch.testing.assert_close(many.value, means.mean(0))


def test_rules_by_hand() -> None:
    pre, post = torch.tensor([[[2.0]]]), torch.tensor([[[3.0]]])
    assert bcm(pre, post, torch.tensor([[[1.0]]])).total().item() == 3 * (3 - 1) * 2
    assert hebb(pre, post).total().item() == 6
    before = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1, 1)
    after = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1, 1)
    for first, then, wanted, why in (
        (before, after, 0.25, "the input fired two steps earlier"),
        (after, before, -0.25, "the input fired two steps later"),
        (before, before, 0, "simultaneous spikes do not count"),
    ):
        change = stdp(first, then, 0.5)
        assert change.total().item() == change.strengths().item() == wanted, why
