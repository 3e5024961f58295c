"""Search for hyper-parameters: the tree-structured Parzen estimator (TPE) of Optuna, seeded."""

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

#: Number of settings that are proposed together. The proposals depend on it, so it must not depend
#: on the number of workers.
BATCH = 4
_SEED = 0


class Search:
    """Proposes settings by TPE (Bergstra et al. 2011, NeurIPS 24), after a given first one.

    Parameters
    ----------
    name
        Name of the method.
    space
        Hyper-parameter -> what it may be.
    start
        The first setting: all hyper-parameters. Those outside the space keep these values.
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
        """Propose `count` settings, each with all hyper-parameters."""
        self.asked = [self.study.ask(self.known) for _ in range(count)]
        return [self.start | _rounded(trial.params) for trial in self.asked]

    def tell(self, scores: Sequence[float]) -> None:
        """Report the scores of the settings that the last `ask` returned, in the same order."""
        for trial, score in zip(self.asked, scores, strict=True):
            self.study.tell(trial, score)


def distributions(name: str, space: Space) -> dict[str, BaseDistribution]:
    """Convert a space to distributions of Optuna, by hyper-parameter.

    Parameters
    ----------
    name
        Name of the method.
    space
        Hyper-parameter -> what it may be.

    Returns
    -------
    dict
        Hyper-parameter -> distribution.

    Raises
    ------
    InputError
        If the method has no such hyper-parameter, or a range is given for one that is not a number.
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
                f"tuning.spaces.{name}.{option} is a range, but the hyper-parameter is not a "
                "number: give choices."
            )
    return found


def _rounded(options: dict[str, Any]) -> dict[str, Any]:
    """Round numbers to three digits, so that people can read and type them."""
    return {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in options.items()}
