"""Catalogue: the metadata of all methods, parsed from source without imports, so it is quick."""

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
#: Modules of dpap/ that define methods.
OF_DPAP = ("pruner", "trophic", "compete")


@cache
def infos() -> dict[str, PrunerInfo]:
    """Return the info of every method by name.

    The infos are parsed from the source files of this repository. If that is not possible, or if
    other packages register methods, all methods are imported instead.
    """
    return {name: info for name, (info, _) in _entries().items()}


def source(name: str) -> str:
    """Return the source of a method: its file in this repository, or its module in another package.

    The result is empty if there is no such method.
    """
    return _entries()[name][1] if name in _entries() else ""


@cache
def _entries() -> dict[str, tuple[PrunerInfo, str]]:
    from importlib.metadata import entry_points  # slow to import, and --help does not need it

    files = [f for f in (_ROOT / "baselines").glob("*.py") if not f.name.startswith("_")]
    files += [_ROOT / "dpap" / f"{name}.py" for name in OF_DPAP]
    try:
        if entry_points(group=ENTRY_POINT):
            raise ValueError("methods of other packages must be imported")
        found = [(info, str(file.relative_to(_ROOT))) for file in files for info in _read(file)]
    except (ValueError, TypeError, KeyError):
        from pipelines.methods.registry import methods

        found = [(kind.info, _source(kind)) for kind in methods().values()]
    return {info.name: (info, where) for info, where in sorted(found, key=lambda e: e[0].name)}


def _source(kind: type) -> str:
    try:
        file = Path(inspect.getfile(kind))
    except (OSError, TypeError):  # a plug-in may make its class as it likes
        return kind.__module__
    return str(file.relative_to(_ROOT)) if file.is_relative_to(_ROOT) else kind.__module__


def of_plugin(name: str) -> bool:
    """Whether a method belongs to another distribution; False if there is no such method."""
    where = source(canonical(name))
    return where != "" and where == Path(where).name  # a module, not a path of this repository


def canonical(name: str) -> str:
    """Accept hyphens for underscores in the name of a method; return other names unchanged."""
    underscored = name.replace("-", "_")
    return underscored if name not in infos() and underscored in infos() else name


def info(name: str) -> PrunerInfo:
    """Return the info of a method.

    Raises
    ------
    InputError
        If there is no method of this name.
    """
    found = infos().get(canonical(name))
    if found is None:
        raise unknown("method", name, infos())
    return found


def in_headlines(name: str) -> bool:
    """Whether a row of a method may be named as the best one: not if it is ``after_abstract``.

    Parameters
    ----------
    name
        METHOD or METHOD:VARIANT, as in a record; a method that is not installed may be named.
    """
    about = infos().get(name.partition(":")[0])
    return about is None or not about.after_abstract


def _read(file: Path) -> Iterator[PrunerInfo]:
    """Parse the infos of the classes in a file.

    An info must be written as ``info = PrunerInfo(...)`` or ``info = replace(Other.info, ...)``,
    with literals as arguments.

    Raises
    ------
    ValueError, TypeError, KeyError
        If an info is written in another way.
    """
    known: dict[str, PrunerInfo] = {}
    for owner in ast.parse(file.read_text()).body:
        for node in owner.body if isinstance(owner, ast.ClassDef) else ():
            if not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "info"):
                continue
            call = node.value
            if not isinstance(call, ast.Call):
                raise ValueError(f"{file}: info is not a call of PrunerInfo or replace")
            fields = {k.arg or "": ast.literal_eval(k.value) for k in call.keywords}
            base = ast.unparse(call.args[0]).removesuffix(".info") if call.args else ""
            made = replace(known[base], **fields) if base else PrunerInfo(**fields)
            assert isinstance(owner, ast.ClassDef)
            known[owner.name] = made
            yield made
