"""Methods by name: those of this distribution, and installed plug-ins."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

import baselines
from baselines.shared.contract import Pruner
from baselines.shared.info import ENTRY_POINT

#: Modules of dpap that define methods.
_OWN = ("dpap.pruner", "dpap.trophic", "dpap.compete")

AnyPruner = TypeVar("AnyPruner", bound=Pruner)


def method_names() -> list[str]:
    """Names of all installed methods."""
    return sorted(methods())


def build_method(name: str, options: dict[str, Any]) -> Pruner:
    """Build a method by name.

    Parameters
    ----------
    name
        Name of a method, such as ``magnitude``.
    options
        Its hyper-parameters.

    Raises
    ------
    ValueError
        If the method or an option is unknown.
    """
    kinds = methods()
    found = kinds.get(name) or kinds.get(name.replace("-", "_"))
    if found is None:
        raise ValueError(f"there is no method '{name}': use one of {', '.join(sorted(kinds))}")
    known = [field.name for field in dataclasses.fields(found)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise ValueError(
                f"method '{name}' has no option '{option}': its options are {', '.join(known)}"
            )
    return found(**options)


def unused(pruner: AnyPruner) -> AnyPruner:
    """Return a pruner with the same hyper-parameters that has not begun a run.

    Raises
    ------
    ValueError
        If the pruner has begun and cannot be built again.
    """
    if not hasattr(pruner, "context"):
        return pruner
    return fresh(pruner)


def fresh(pruner: AnyPruner) -> AnyPruner:
    """Build a pruner with the same hyper-parameters.

    Raises
    ------
    ValueError
        If the pruner is no dataclass.
    """
    if not dataclasses.is_dataclass(pruner):
        raise ValueError(
            f"{type(pruner).__name__} is no dataclass, so it cannot be built again: give each "
            "network a new pruner"
        )
    names = [field.name for field in dataclasses.fields(pruner) if field.init]
    return type(pruner)(**{name: getattr(pruner, name) for name in names})


@cache
def methods() -> dict[str, type[Pruner]]:
    """Every installed method by name: of this distribution, and of entry points."""
    modules = [
        f"baselines.{module.name}"
        for module in pkgutil.iter_modules(baselines.__path__)
        if not (module.ispkg or module.name.startswith("_"))
    ]
    found = [
        kind
        for module in map(importlib.import_module, [*modules, *_OWN])
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Pruner) and kind.__module__ == module.__name__
    ]
    found += [entry.load() for entry in entry_points(group=ENTRY_POINT)]
    return {kind.info.name: kind for kind in found if hasattr(kind, "info")}
