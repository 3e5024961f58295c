"""Lateral inhibition and the comparison of layers, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from dpap.rivals import comparable, inhibited, wired
from tests.helpers.structures import chain

INF = float("inf")


def test_a_unit_loses_what_the_most_similar_stronger_unit_says() -> None:
    # rho^2 of 0 and 1: 1 / (1 * 4); of 0 and 2: 0.25; of 1 and 2: 2.56 / 4.
    covariance = torch.tensor([[1.0, 1.0, 0.5], [1.0, 4.0, 1.6], [0.5, 1.6, 1.0]])
    found = inhibited(torch.tensor([3.0, 2.0, 1.0]), covariance)
    assert found.tolist() == pytest.approx([3.0, 2 * 0.75, 1 * 0.36])


def test_opposite_traces_say_the_same() -> None:
    covariance = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert inhibited(torch.tensor([1.0, 2.0]), covariance).tolist() == [0.0, 2.0]


def test_pruned_silent_and_equal_units_do_not_inhibit() -> None:
    same = torch.ones(2, 2)
    assert inhibited(torch.tensor([1.0, -INF]), same).tolist() == [1.0, -INF]
    assert inhibited(torch.tensor([1.0, 1.0]), same).tolist() == [1.0, 1.0]
    silent = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    assert inhibited(torch.tensor([2.0, 1.0]), silent).tolist() == [2.0, 1.0]


def test_scores_compare_by_their_share_among_those_that_are_not_smaller() -> None:
    found = comparable(torch.tensor([3.0, 1.0, 2.0]))
    assert found.tolist() == pytest.approx([1, 1 / 14, 4 / 13])


def test_pruned_units_have_no_share() -> None:
    found = comparable(torch.tensor([1.0, -INF, 2.0, 0.0]))
    assert found.tolist() == pytest.approx([1 / 5, -INF, 1, 0])


def test_groups_of_equal_scores_keep_the_same_number_of_units() -> None:
    small, large = comparable(torch.ones(2)), comparable(torch.ones(4))
    assert sorted(small.tolist()) == pytest.approx([1 / 2, 1])
    assert sorted(large.tolist()) == pytest.approx([1 / 4, 1 / 3, 1 / 2, 1])


def test_a_neuron_is_wired_if_it_reads_and_is_read() -> None:
    first, second = chain([2, 3, 2]).groups
    synapses = {
        "fc1": torch.tensor([[True, False], [False, False], [True, True]]),
        "fc2": torch.tensor([[True, True, False], [False, True, False]]),
    }
    # Neuron 1 reads nothing, and nobody reads neuron 2. The helper's last layer has no reader.
    assert wired(first, synapses).tolist() == [True, False, False]
    assert wired(second, synapses).tolist() == [False, False]
    # A reader without an entry, such as the readout, reads every neuron.
    assert wired(first, {"fc1": synapses["fc1"]}).tolist() == [True, False, True]
