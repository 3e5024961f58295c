"""The settings of a search: the default of a method, and a Latin hypercube over its space.

All settings are drawn before the first run, so no result changes which ones are tried. A hypercube
covers the range of each hyper-parameter evenly, whatever the number of settings (McKay, Beckman,
Conover 1979, doi 10.2307/1268522). Two methods whose spaces are equal try the same values.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from scipy.stats import qmc

from pipelines.boards.spaces import Choices, Range, Space
from pipelines.common.errors import InputError, unknown
from pipelines.methods.registry import make, method

_SEED = 0
#: Number of hypercubes that are drawn; the later ones replace settings that are there already.
_HYPERCUBES = 20


def draw_settings(
    method_name: str, space: Space, default: dict[str, Any], count: int
) -> list[dict[str, Any]]:
    """Draw the settings of a search.

    Parameters
    ----------
    method_name
        Name of the method.
    space
        Hyper-parameter -> what it may be.
    default
        The first setting: all hyper-parameters. Those outside the space keep these values.
    count
        Number of settings.

    Returns
    -------
    list of dict
        Settings with all hyper-parameters, each once. The method accepts all but perhaps the
        default. They are fewer than `count` if the space has no more.
        Numbers have three digits, so that people can read and type them.

    Raises
    ------
    InputError
        If the space does not fit the method.
    """
    types = option_types(method_name, space)
    hypercube = qmc.LatinHypercube(len(space), rng=_SEED)
    found = [default]
    for point in (one for _ in range(_HYPERCUBES) for one in hypercube.random(count - 1).tolist()):
        pairs = zip(space.items(), point, strict=True)
        setting = default | {name: _value(values, types[name], u) for (name, values), u in pairs}
        if len(found) < count and setting not in found and _is_valid(method_name, setting):
            found.append(setting)
    return found


def option_types(name: str, space: Space) -> dict[str, Any]:
    """Return the types of the hyper-parameters of a space.

    Raises
    ------
    InputError
        If the method has no such hyper-parameter, or a range is given for one that is not a number.
    """
    kind: type[Any] = method(name)
    types = typing.get_type_hints(kind)
    hints = {field.name: types[field.name] for field in dataclasses.fields(kind)}
    for option, values in space.items():
        if option not in hints:
            raise unknown(f"option of method '{name}'", option, hints)
        if isinstance(values, Range) and hints[option] not in (int, float):
            raise InputError(
                f"the space of {name}.{option} is a range, but the hyper-parameter is not a "
                "number: give choices."
            )
    return {option: hints[option] for option in space}


def _is_valid(method_name: str, setting: dict[str, Any]) -> bool:
    """Whether the method accepts a setting; some values exclude each other."""
    try:
        make(method_name, setting)
    except InputError:
        return False
    return True


def _value(values: Range | Choices, kind: Any, u: float) -> Any:
    """Return the value at the place `u`, in [0, 1), of a range or a list of choices."""
    if isinstance(values, Choices):
        return values.choices[int(u * len(values.choices))]
    low, high = values.low, values.high
    if kind is int:
        high += 1  # both bounds can be chosen
    value = low * (high / low) ** u if values.log else low + u * (high - low)
    return int(value) if kind is int else float(f"{value:.3g}")
