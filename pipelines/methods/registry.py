"""Registry: finds every installed method, so that no list has to be edited."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn, get_type_hints

from pydantic import TypeAdapter, ValidationError

import baselines
from baselines.shared.contract import Pruner
from baselines.shared.info import ENTRY_POINT, PrunerInfo
from pipelines.common.errors import InputError, one_line, unknown
from pipelines.common.imported import watch
from pipelines.methods.catalogue import OF_DPAP
from pipelines.methods.plugins import packages_of

#: Seconds after which the import of a plug-in is given up.
IMPORT_SECONDS = 20.0


@cache
def methods() -> dict[str, type[Pruner]]:
    """Return every method by name: those of baselines/, of dpap/, and of installed entry points.

    A plug-in that is broken, hangs, or has the name of another method, is named on stderr and left
    out.

    Raises
    ------
    ValueError
        If two methods of this project have the same name.
    """
    names = [
        f"baselines.{module.name}"
        for module in pkgutil.iter_modules(baselines.__path__)
        if not (module.ispkg or module.name.startswith("_"))
    ]
    names += [f"dpap.{name}" for name in OF_DPAP]
    found = [
        kind
        for module in map(importlib.import_module, names)
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Pruner) and kind.__module__ == module.__name__
    ]
    by_name: dict[str, type[Pruner]] = {}
    for kind in found:
        if not hasattr(kind, "info"):
            continue
        name = kind.info.name
        if name in by_name and by_name[name] is not kind:
            raise ValueError(f"two methods are named '{name}': {by_name[name]} and {kind}")
        by_name[name] = kind
    for entry in entry_points(group=ENTRY_POINT):
        try:
            kind = _plugin(entry)
            if kind.info.name in by_name:
                raise ValueError(f"another method is named '{kind.info.name}'")
            by_name[kind.info.name] = kind
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # code of somebody else, which may even call sys.exit
            reason = one_line(f"{type(error).__name__}: {error}")
            print(f"dpap-bench: plug-in {entry.value} is left out ({reason}).", file=sys.stderr)
    return dict(sorted(by_name.items()))


def _plugin(entry: EntryPoint) -> type[Pruner]:
    """Import the method of a plug-in.

    Raises
    ------
    TypeError
        If it is no method with a name.
    TimeoutError
        If the import takes longer than `IMPORT_SECONDS`.
    """
    watch(*packages_of(entry))
    with _time_limit(IMPORT_SECONDS):
        kind = entry.load()
    if not (inspect.isclass(kind) and issubclass(kind, Pruner) and dataclasses.is_dataclass(kind)):
        raise TypeError("it is no dataclass that extends Pruner")
    if not isinstance(getattr(kind, "info", None), PrunerInfo):
        raise TypeError("it has no PrunerInfo as its attribute info")
    return kind


# Not `pipelines.common.time_limit`: cells import this module, and no canary proves a time limit, so
# every record would be stale.
@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after some seconds; only in the main thread of a process."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise TimeoutError(f"its import takes longer than {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def method(name: str) -> type[Pruner]:
    """Return the class of a method.

    Raises
    ------
    InputError
        If there is no method of this name.
    """
    if name not in methods():
        raise unknown("method", name, methods())
    return methods()[name]


def make(name: str, options: dict[str, Any]) -> Pruner:
    """Build a method with its hyper-parameters.

    Parameters
    ----------
    name
        Name of the method.
    options
        Hyper-parameters by name; missing ones have their default values.

    Returns
    -------
    Pruner
        A new pruner.

    Raises
    ------
    InputError
        If the method or an option is unknown, or an option has the wrong type or is out of range.
    """
    kind = method(name)
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise unknown(f"option of method '{name}'", option, known)
    adapters = _adapters(name)
    try:
        for option, value in options.items():
            adapters[option].validate_python(value, strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise InputError(f"method '{name}', option '{option}': {reason}.") from error
    try:
        return kind(**options)
    except ValueError as error:
        raise InputError(f"method '{name}': {error}.") from error


@cache
def _adapters(name: str) -> dict[str, TypeAdapter[Any]]:
    """Return validators of a method's hyper-parameters, by name."""
    kind = method(name)
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    return {name: TypeAdapter(hints[name]) for name in names}
