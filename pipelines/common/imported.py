"""Source files as this process has them: read once, for a module when Python imports it.

A file may change on disk while a process runs. What the process computes then depends on what it
had imported, so the digest of code is taken from here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_packages: set[str] = set()
_contents: dict[Path, bytes | None] = {}
_edition = 0


def read(file: Path) -> bytes | None:
    """Read a file from disk; None if there is no such file."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def content(file: Path) -> bytes | None:
    """Return the content of a source file as this process has it, or None if there is none.

    That is what the file held when its module was imported. A file of no imported module is read
    when it is first asked for, and not again.
    """
    if file not in _contents:
        _contents[file] = read(file)
    return _contents[file]


def edition() -> int:
    """Count how often an import found another content than `content` had returned."""
    return _edition


def watch(*packages: str) -> None:
    """Keep the sources of all modules of top-level packages from now on.

    Modules that are already there are read now, so call it before the first import.
    """
    if not _packages:
        sys.meta_path.insert(0, _Watch())
    new = set(packages) - _packages
    _packages.update(new)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in new:
            _keep(getattr(module, "__file__", None))


def _keep(name: str | None) -> None:
    global _edition  # noqa: PLW0603 -- one per process, as sys.modules
    if name is None or not name.endswith(".py"):
        return
    file = Path(name)
    now = read(file)
    _edition += _contents.setdefault(file, now) != now
    _contents[file] = now


class _Watch(MetaPathFinder):
    """Finds modules as the other finders do, and reads their source just before Python does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in _packages:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            found = finder.find_spec(fullname, path, target)
            if found is not None:
                _keep(found.origin)
                return found
        return None
