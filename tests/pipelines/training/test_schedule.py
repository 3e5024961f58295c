"""Learning-rate schedules, worked by hand."""

from __future__ import annotations

import pytest

from pipelines.settings.workload import Recipe
from pipelines.training.schedule import RateSchedule, learning_rate


def test_warm_up_and_cosine_by_hand() -> None:
    recipe = Recipe(epochs=1, batch_size=2, optimizer="sgd", learning_rate=0.4, warmup=0.2)
    assert learning_rate(recipe, 0.1) == pytest.approx(0.2)
    assert learning_rate(recipe, 0.2) == pytest.approx(0.4)
    assert learning_rate(recipe, 0.6) == pytest.approx(0.2)
    assert learning_rate(recipe, 1.0) == pytest.approx(0.0)


def test_a_cosine_that_ends_at_a_floor() -> None:
    recipe = Recipe(
        epochs=1, batch_size=2, optimizer="adamw", learning_rate=0.3, warmup=0.2, floor=0.1
    )
    rates = [learning_rate(recipe, progress) for progress in (0, 0.1, 0.2, 0.6, 1)]
    assert rates == pytest.approx([0, 0.15, 0.3, 0.2, 0.1])
    lower = recipe.model_copy(update={"learning_rate": 0.05})  # fine-tuning may peak below it
    assert learning_rate(lower, 0.7) == 0.05


def test_a_step_schedule_by_hand() -> None:
    """300 epochs; the rate falls to a tenth after each 40 of them."""
    recipe = Recipe(
        epochs=300,
        batch_size=2,
        optimizer="adam",
        learning_rate=1e-3,
        schedule="step",
        step_every=40 / 300,
        floor=1e-6,
    )
    rates = [learning_rate(recipe, epoch / 300) for epoch in (0, 39.9, 40, 80, 119, 120, 299)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])


def test_restarts_by_hand() -> None:
    recipe = Recipe(epochs=1, batch_size=8, optimizer="sgd", learning_rate=0.1, warmup=0.2)
    rates = RateSchedule(recipe, (0.5,))
    assert rates.rate(0.05) == pytest.approx(0.05)  # halfway through the first span's warm-up
    assert rates.rate(0.1) == pytest.approx(0.1)
    assert rates.rate(0.3) == pytest.approx(0.05)  # halfway through its cosine
    assert rates.rate(0.52) == 0.0
    assert not rates.restart(0.49)
    assert rates.restart(0.52)
    assert not rates.restart(0.6)
    assert rates.rate(0.52) == 0.0
    assert rates.rate(0.52 + 0.48 * 0.6) == pytest.approx(0.05)
    assert rates.rate(1.0) == pytest.approx(0.0)


def test_without_restarts_the_schedule_is_that_of_the_recipe() -> None:
    recipe = Recipe(epochs=1, batch_size=8, optimizer="sgd", learning_rate=0.1, warmup=0.2)
    plain = RateSchedule(recipe)
    assert all(plain.rate(p / 7) == learning_rate(recipe, p / 7) for p in range(8))


@pytest.mark.parametrize("restarts", [(0.0,), (1.0,), (0.5, 0.5), (0.6, 0.4)])
def test_restarts_that_do_not_rise_are_refused(restarts: tuple[float, ...]) -> None:
    recipe = Recipe(epochs=1, batch_size=8, optimizer="sgd", learning_rate=0.1)
    with pytest.raises(ValueError, match="restarts must rise"):
        RateSchedule(recipe, restarts)
