"""Plug-ins: other distributions that register methods, and the files that they consist of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from baselines.shared.info import ENTRY_POINT

#: Endings of source files; compiled files differ between machines.
SOURCES = (".py", ".pyx", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".cuh")


@cache
def plugins() -> dict[str, tuple[Path, ...]]:
    """Return top-level package of a plug-in -> folders and files of its whole distribution.

    Nothing is imported.
    """
    found: dict[str, set[Path]] = {}
    for entry in entry_points(group=ENTRY_POINT):
        names = packages_of(entry)
        places = {place for place in _beside(entry, names) if place.exists()}
        for name in names:
            found.setdefault(name, set()).update(places)
    return {name: tuple(sorted(places)) for name, places in found.items()}


def packages_of(entry: EntryPoint) -> set[str]:
    """Return the names of all top-level packages and modules of a method's distribution."""
    found = {entry.module.partition(".")[0]}
    if entry.dist is not None:
        found.update((entry.dist.read_text("top_level.txt") or "").split())
        files = (file for file in entry.dist.files or () if file.suffix == ".py")
        found.update(file.parts[0].removesuffix(".py") for file in files)
    return {name for name in found if name.isidentifier() and not name.startswith("__")}


def _beside(entry: EntryPoint, names: set[str]) -> Iterator[Path]:
    """Yield where the packages `names` would be: beside the package that `entry` names."""
    spec = find_spec(entry.module.partition(".")[0])
    if spec is None:
        return
    for place in spec.submodule_search_locations or [spec.origin or ""]:
        for name in names:
            yield Path(place).with_name(name)
            yield Path(place).with_name(f"{name}.py")


def source_files(place: Path) -> Iterator[Path]:
    """Yield the source files of a package's folder, or the one file of a module, in order."""
    if place.is_file():
        yield place
        return
    for file in sorted(place.rglob("*")):
        if file.suffix in SOURCES and "__pycache__" not in file.parts and file.is_file():
            yield file
