"""Rules of a method's class and file."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import baselines
from baselines.shared.contract import Pruner
from pipelines.authoring.mask_rules import ContractError
from pipelines.common.errors import InputError
from pipelines.methods.registry import make, methods

LINES = 80


def is_a_dataclass(method: type[Pruner]) -> None:
    """The fields of a method are its hyper-parameters."""
    own = {name for name in inspect.get_annotations(method) if name != "info"}
    if not dataclasses.is_dataclass(method) or own - _fields(method):
        raise ContractError(
            f"the hyper-parameters of {method.__name__} cannot be set: write @dataclass above it."
        )


def is_documented(method: type[Pruner]) -> None:
    """A method says what it is, cites its paper, and explains its hyper-parameters."""
    info, module = method.info, sys.modules[method.__module__]
    if not info.summary.endswith("."):
        raise ContractError("info.summary is no sentence: say what it prunes, with a full stop.")
    if not info.paper:
        raise ContractError("info.paper is empty: cite authors, year, title and arXiv id or DOI.")
    if not info.granularities:
        raise ContractError("info.granularities is empty: say what the method can remove.")
    text = method.__doc__ or ""
    if not text or text.startswith(f"{method.__name__}("):  # what dataclass writes by itself
        raise ContractError(f"class {method.__name__} has no docstring: say what it computes.")
    if not module.__doc__:
        raise ContractError(f"{module.__name__} has no docstring: say in a line what it is.")
    text += "".join(base.__doc__ or "" for base in method.__mro__ if issubclass(base, Pruner))
    for name in inspect.get_annotations(method):
        if name in _fields(method) and name not in text:
            raise ContractError(
                f"hyper-parameter '{name}' is not explained: add it, with its range, to "
                f"'Parameters' in the docstring of {method.__name__}."
            )


def is_small(method: type[Pruner]) -> None:
    """A baseline fits on a page."""
    file = Path(inspect.getfile(method))
    lines = len(file.read_text().splitlines())
    if _is_baseline(method) and lines > LINES:
        raise ContractError(
            f"{file.name} has {lines} lines, more than {LINES}: use what baselines/ shares, such "
            "as GradualPruner, select() and Structure.unit_sums()."
        )


def is_named_after_its_file(method: type[Pruner]) -> None:
    """DVC and people find a baseline by its name."""
    stem, name = Path(inspect.getfile(method)).stem, method.info.name
    if _is_baseline(method) and stem.lstrip("_") != name.replace("-", "_"):
        raise ContractError(
            f"method '{name}' is in {stem}.py: the file must be {name.replace('-', '_')}.py."
        )


def stands_alone(method: type[Pruner]) -> None:
    """A baseline imports neither the harness nor another method."""
    if not _is_baseline(method):
        return
    others = {kind.__module__ for kind in methods().values()} - {method.__module__}
    for node in ast.walk(ast.parse(Path(inspect.getfile(method)).read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
        for name in names:
            if name in others or name.partition(".")[0] == "pipelines":
                raise ContractError(
                    f"it imports {name}: a method uses what baselines/shared/ holds, "
                    "neither the harness nor another method."
                )


def is_written_out(method: type[Pruner], options: dict[str, Any] | None) -> None:
    """params.yaml has every hyper-parameter, and the method takes the values."""
    name = method.info.name
    if options is None:
        raise ContractError(f"params.yaml does not know it: write '{name}:' under methods:.")
    for option in sorted(_fields(method) - options.keys()):
        raise ContractError(
            f"hyper-parameter '{option}' is not in params.yaml: write it there, under "
            f"methods: {name}:."
        )
    try:
        make(name, options)
    except InputError as error:
        raise ContractError(f"params.yaml does not fit: {error}") from error


RULES: tuple[Callable[[type[Pruner]], None], ...] = (
    is_a_dataclass,
    is_documented,
    is_small,
    is_named_after_its_file,
    stands_alone,
)


def _fields(method: type[Any]) -> set[str]:
    """Names of a method's hyper-parameters."""
    known = dataclasses.is_dataclass(method)
    return {field.name for field in dataclasses.fields(method)} if known else set()


def _is_baseline(method: type[Pruner]) -> bool:
    return method.__module__.partition(".")[0] == baselines.__name__
