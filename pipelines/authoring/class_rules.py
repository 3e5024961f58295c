"""Rules about the class and the file of a method; each raises ContractError if it is broken."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import baselines
from baselines.shared.contract import Pruner
from pipelines.authoring.mask_rules import ContractError
from pipelines.common.errors import InputError
from pipelines.methods.registry import make, methods

#: Advised length of a method's file, in lines.
LINES = 80


def is_a_dataclass(method: type[Pruner]) -> None:
    """Require that a method is a dataclass, whose fields are its hyper-parameters."""
    own = {name for name in inspect.get_annotations(method) if name != "info"}
    if not dataclasses.is_dataclass(method) or own - _fields(method):
        raise ContractError(
            f"the hyper-parameters of {method.__name__} cannot be set: write @dataclass above the "
            "class."
        )


def is_documented(method: type[Pruner]) -> None:
    """Require a summary, a citation, docstrings, and an explanation of each hyper-parameter."""
    info, module = method.info, sys.modules[method.__module__]
    if not info.summary.endswith("."):
        raise ContractError(
            "info.summary is not a sentence: say what the method prunes, and end with a full stop."
        )
    if not info.paper:
        raise ContractError("info.paper is empty: cite authors, year, title and arXiv id or DOI.")
    if not info.granularities:
        raise ContractError("info.granularities is empty: name what the method can remove.")
    text = method.__doc__ or ""
    # Without a docstring, @dataclass writes the signature.
    if not text or text.startswith(f"{method.__name__}("):
        raise ContractError(
            f"class {method.__name__} has no docstring: say what the method computes."
        )
    if not module.__doc__:
        raise ContractError(
            f"module {module.__name__} has no docstring: describe the method and cite its paper."
        )
    text += "".join(base.__doc__ or "" for base in method.__mro__ if issubclass(base, Pruner))
    for name in inspect.get_annotations(method):
        if name in _fields(method) and name not in text:
            raise ContractError(
                f"hyper-parameter '{name}' is not explained: add it, with its range, to section "
                f"Parameters in the docstring of {method.__name__}."
            )


def is_named_after_its_file(method: type[Pruner]) -> None:
    """Require that the file of a baseline has its name, by which DVC finds it."""
    stem, name = Path(inspect.getfile(method)).stem, method.info.name
    if _is_baseline(method) and stem.lstrip("_") != name.replace("-", "_"):
        raise ContractError(
            f"method '{name}' is in {stem}.py: rename the file to {name.replace('-', '_')}.py."
        )


def stands_alone(method: type[Pruner]) -> None:
    """Require that a baseline imports neither the harness nor another method."""
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
                    f"the method imports {name}: import from baselines/shared/ only, neither the "
                    "harness nor another method."
                )


def is_written_out(method: type[Pruner], options: dict[str, Any] | None) -> None:
    """Require that methods.yaml has every hyper-parameter, with values that the method accepts."""
    name = method.info.name
    if options is None:
        raise ContractError(
            f"the method is not in methods.yaml: write '{name}:' there, with all "
            "hyper-parameters under options:."
        )
    for option in sorted(_fields(method) - options.keys()):
        raise ContractError(
            f"hyper-parameter '{option}' is not in methods.yaml: write it under {name}: options:."
        )
    try:
        make(name, options)
    except InputError as error:
        raise ContractError(f"methods.yaml has wrong values: {error}") from error


RULES: tuple[Callable[[type[Pruner]], None], ...] = (
    is_a_dataclass,
    is_documented,
    is_named_after_its_file,
    stands_alone,
)


def advice(method: type[Pruner]) -> Iterator[str]:
    """Yield remarks on a method that breaks no rule; a check prints them and passes."""
    file = Path(inspect.getfile(method))
    lines = len(file.read_text().splitlines())
    if _is_baseline(method) and lines > LINES:
        yield (
            f"{file.name} has {lines} lines; about {LINES} are advised. baselines/shared/ may have "
            "what it needs, such as GradualPruner, select() and Structure.unit_sums()."
        )


def _fields(method: type[Any]) -> set[str]:
    """Return the names of a method's hyper-parameters."""
    if not dataclasses.is_dataclass(method):
        return set()
    return {field.name for field in dataclasses.fields(method)}


def _is_baseline(method: type[Pruner]) -> bool:
    return method.__module__.partition(".")[0] == baselines.__name__
