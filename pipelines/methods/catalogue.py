"""What the methods say of themselves, read from their source: no import, so listing is quick."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from baselines.shared.info import ENTRY_POINT, PrunerInfo
from pipelines.common.errors import unknown

_ROOT = Path(__file__).resolve().parents[2]


@cache
def infos() -> dict[str, PrunerInfo]:
    """Info of every method by name; imported only where it cannot be read."""
    return {name: info for name, (info, _) in _entries().items()}


def source(name: str) -> str:
    """File of a method in this repository, or the module in which another package brings it.

    Empty if there is no such method.
    """
    return _entries()[name][1] if name in _entries() else ""


@cache
def _entries() -> dict[str, tuple[PrunerInfo, str]]:
    from importlib.metadata import entry_points  # --help does without

    files = [f for f in (_ROOT / "baselines").glob("*.py") if not f.name.startswith("_")]
    try:
        if entry_points(group=ENTRY_POINT):
            raise ValueError("other packages are not read but imported")
        found = [
            (info, str(file.relative_to(_ROOT)))
            for file in (*files, _ROOT / "dpap" / "pruner.py")
            for info in _read(file)
        ]
    except (ValueError, TypeError, KeyError):
        from pipelines.methods.registry import methods

        found = [(kind.info, _source(kind)) for kind in methods().values()]
    return {info.name: (info, where) for info, where in sorted(found, key=lambda e: e[0].name)}


def _source(kind: type) -> str:
    file = Path(inspect.getfile(kind))
    return str(file.relative_to(_ROOT)) if file.is_relative_to(_ROOT) else kind.__module__


def canonical(name: str) -> str:
    """Name of a method whose dashes and underscores somebody mixed up; others as they are."""
    alike = name.replace("-", "_")
    return alike if name not in infos() and alike in infos() else name


def info(name: str) -> PrunerInfo:
    """Return the info of a method.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    found = infos().get(canonical(name))
    if found is None:
        raise unknown("method", name, infos())
    return found


def _read(file: Path) -> Iterator[PrunerInfo]:
    """Infos of the classes in a file: ``PrunerInfo(...)``, or ``replace(Other.info, ...)``.

    Raises
    ------
    ValueError, TypeError, KeyError
        If one of them is written in another way.
    """
    known: dict[str, PrunerInfo] = {}
    for owner in ast.parse(file.read_text()).body:
        for node in owner.body if isinstance(owner, ast.ClassDef) else ():
            if not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "info"):
                continue
            call = node.value
            if not isinstance(call, ast.Call):
                raise ValueError(f"{file}: info is not built where it is set")
            fields = {k.arg or "": ast.literal_eval(k.value) for k in call.keywords}
            base = ast.unparse(call.args[0]).removesuffix(".info") if call.args else ""
            made = replace(known[base], **fields) if base else PrunerInfo(**fields)
            assert isinstance(owner, ast.ClassDef)
            known[owner.name] = made
            yield made
