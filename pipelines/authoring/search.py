"""The search for hyper-parameters: Optuna's tree-structured Parzen estimator, seeded."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from pipelines.boards.spaces import Choices, Space
from pipelines.common.errors import InputError, unknown
from pipelines.methods.registry import method

#: Settings that are asked for at a time, whatever the number of workers: results depend on it.
BATCH = 4
_SEED = 0


class Search:
    """Proposes settings, the given one first (Bergstra et al. 2011, NeurIPS 24).

    Parameters
    ----------
    name, space
        A method, and what is searched.
    start
        The setting to try first: all hyper-parameters.
    """

    def __init__(self, name: str, space: Space, start: dict[str, Any]) -> None:
        self.start = start
        self.known = distributions(name, space)
        self.asked: list[optuna.Trial] = []
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=_SEED, n_startup_trials=BATCH)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.study.enqueue_trial({option: start[option] for option in space})

    def ask(self, count: int) -> list[dict[str, Any]]:
        """Return so many settings, each with all hyper-parameters."""
        self.asked = [self.study.ask(self.known) for _ in range(count)]
        return [self.start | _rounded(trial.params) for trial in self.asked]

    def tell(self, scores: Sequence[float]) -> None:
        """Say how the settings did that were asked for last, in their order."""
        for trial, score in zip(self.asked, scores, strict=True):
            self.study.tell(trial, score)


def distributions(name: str, space: Space) -> dict[str, BaseDistribution]:
    """What Optuna may choose, by hyper-parameter.

    Raises
    ------
    InputError
        If the space names what the method does not have, or gives a range where no number is
        wanted.
    """
    kind: type[Any] = method(name)
    types = typing.get_type_hints(kind)
    hints = {field.name: types[field.name] for field in dataclasses.fields(kind)}
    found: dict[str, BaseDistribution] = {}
    for option, values in space.items():
        if option not in hints:
            raise unknown(f"option of method '{name}'", option, hints)
        if isinstance(values, Choices):
            found[option] = CategoricalDistribution(values.choices)
        elif hints[option] is int:
            found[option] = IntDistribution(round(values.low), round(values.high), log=values.log)
        elif hints[option] is float:
            found[option] = FloatDistribution(values.low, values.high, log=values.log)
        else:
            raise InputError(
                f"tuning.spaces.{name}.{option} is a range, but no number is wanted there; give "
                "choices."
            )
    return found


def _rounded(options: dict[str, Any]) -> dict[str, Any]:
    """Three digits, which people can read and type."""
    return {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in options.items()}
