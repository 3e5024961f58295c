"""Modules of the user's that factories are in: which files belong to the code of a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pipelines.common.factory import make_importable

#: Folders of installed packages.
_INSTALLED = ("site-packages", "dist-packages")


class UserModules:
    """Finds the files of the modules that factories reach by imports.

    A factory in the folder of a project reaches all modules of this folder that it imports. A
    factory of an installed package reaches those of its package.

    Parameters
    ----------
    factories
        Names, ``package.module:function``.
    source
        Returns the content of a file, or None if there is no such file.
    """

    def __init__(self, factories: Sequence[str], source: Callable[[Path], bytes | None]) -> None:
        self.source = source
        self.bases: dict[str, Path] = {}
        for factory in factories:
            top = factory.partition(":")[0].partition(".")[0]
            if base := _base(top):
                self.bases[top] = base

    def find(self, name: str) -> tuple[str, Path, str] | None:
        """Find a module.

        Parameters
        ----------
        name
            Dotted name.

        Returns
        -------
        tuple or None
            Path below the folder of the project, the file, and the package for relative imports;
            None if the module is none of the user's.
        """
        top = name.partition(".")[0]
        base = self.bases.get(top) or self._beside(top)
        if not name or base is None:
            return None
        path = base.joinpath(*name.split("."))
        for file, package in (
            (path / "__init__.py", name),
            (path.with_suffix(".py"), name.rpartition(".")[0]),
        ):
            if self.source(file) is not None:
                return file.relative_to(base).as_posix(), file, package
        return None

    def _beside(self, top: str) -> Path | None:
        """Folder of a project that has a package or module of this name, beside a factory's."""
        if top in sys.stdlib_module_names:
            return None
        for base in self.bases.values():
            if not set(_INSTALLED) & set(base.parts) and (
                (base / top).is_dir() or (base / f"{top}.py").is_file()
            ):
                return base
        return None


@cache
def _base(top: str) -> Path | None:
    """Return the folder that a top-level package or module is in; nothing is imported."""
    make_importable()
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ()) or [spec.origin or ""]
    return Path(places[0]).parent if places[0] else None
