"""Successive halving and the confirmation, on scores worked by hand."""

from __future__ import annotations

import pytest

from pipelines.authoring.halving import Confirmation, Rung, halve


def test_the_better_half_goes_on_with_more_seeds() -> None:
    scores = [[0.1, 0.5, 0.9], [0.3, 0.1, 0.9], [0.4, 0.2, 0.3], [0.2, 0.6, 0.5], [0.0, 0.0, 1.0]]
    asked: set[tuple[int, int]] = set()

    def score(setting: int, seed: int) -> float:
        asked.add((setting, seed))
        return scores[setting][seed]

    found = halve(5, (1, 2, 3), score)
    assert found.missing == ()
    assert [list(rung.means) for rung in found.rungs] == [[2, 1, 3, 0, 4], [3, 2, 1], [3, 2]]
    assert found.rungs[1].means == pytest.approx({3: 0.4, 2: 0.3, 1: 0.2})
    assert found.rungs[2] == Rung(3, pytest.approx({3: 1.3 / 3, 2: 0.3}))
    assert found.best == 3
    assert len(asked) == 5 * 1 + 3 * 1 + 2 * 1, "each rung adds its new seeds only"
    assert (4, 2) not in asked, "a setting that is out is not run again, however lucky it was"


def test_of_equal_settings_the_earlier_one_is_better() -> None:
    found = halve(4, (1, 2), lambda setting, seed: 0.5)
    assert [list(rung.means) for rung in found.rungs] == [[0, 1, 2, 3], [0, 1]]
    assert found.best == 0, "so the default is kept"


def test_missing_scores_are_named_rung_by_rung() -> None:
    known: dict[tuple[int, int], float] = {}

    def step() -> tuple[tuple[int, int], ...]:
        return halve(3, (1, 2), lambda *trial: known.get(trial)).missing

    assert step() == ((0, 0), (1, 0), (2, 0))
    known |= {(0, 0): 0.1, (2, 0): 0.3}
    assert step() == ((1, 0),), "what was stopped continues"
    known[1, 0] = 0.2
    assert halve(3, (1, 2), lambda *trial: known.get(trial)).best is None
    assert step() == ((1, 1), (2, 1))
    known |= {(1, 1): 0.4, (2, 1): 0.1}
    assert step() == ()
    assert halve(3, (1, 2), lambda *trial: known.get(trial)).best == 1


def test_a_confirmation_is_a_paired_t_interval() -> None:
    """Differences 1, 2, 3, 4: mean 2.5, sd 1.29099, t(3; 0.975) 3.18245."""
    found = Confirmation((1.0, 5.0, 2.0, 7.0), (2.0, 7.0, 5.0, 11.0))
    assert found.gain == pytest.approx(2.5)
    assert found.half_width == pytest.approx(3.18245 * 1.29099 / 2, rel=1e-4)
    assert found.is_better


@pytest.mark.parametrize(
    ("gains", "better"),
    [
        ((0.01, 0.02, 0.01, 0.02), True),
        ((0.05, -0.03, 0.04, 0.00), False),  # its mean is larger, and its seeds disagree
        ((0.0, 0.0, 0.0, 0.0), False),
        ((-0.01, -0.02, -0.01, -0.02), False),
    ],
)
def test_the_default_is_kept_unless_the_interval_is_above_zero(
    gains: tuple[float, ...], better: bool
) -> None:
    default = (0.7, 0.6, 0.8, 0.5)
    found = tuple(one + gain for one, gain in zip(default, gains, strict=True))
    assert Confirmation(default, found).is_better == better


def test_a_run_that_failed_counts_as_zero() -> None:
    assert not Confirmation((0.7, 0.6, 0.8), (0.8, 0.7, 0.0)).is_better
