"""Factories: functions of the user's own modules, named as ``package.module:function``."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.common.errors import InputError
from pipelines.common.imported import watch

#: The file that marks the folder of a project.
_PARAMS = "params.yaml"


def check_name(name: str) -> str:
    """Return the name of a factory; raise ValueError if it is not ``package.module:function``."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", name):
        raise ValueError(f"a factory is 'package.module:function', not '{name}'")
    return name


def project_folder() -> Path:
    """Return the working directory, or the nearest folder above it that holds params.yaml."""
    here = Path.cwd()
    return next((f for f in (here, *here.parents) if (f / _PARAMS).is_file()), here)


def call_factory(name: str, options: Mapping[str, Any]) -> Any:
    """Import a factory and call it.

    Its module is searched in installed packages, and then in the folder of the project.

    Parameters
    ----------
    name
        ``package.module:function``.
    options
        Arguments by name.

    Raises
    ------
    InputError
        If there is no such module or function, or one of them fails.
    """
    module, _, function = check_name(name).partition(":")
    make_importable()
    watch(module.partition(".")[0])
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise _unimportable(name, error) from error
        raise InputError(
            f"factory '{name}': there is no module '{error.name}'; put it into the folder of "
            "params.yaml, or install its package."
        ) from error
    except Exception as error:  # a module of somebody else may raise anything
        raise _unimportable(name, error) from error
    if not callable(found):
        raise InputError(
            f"factory '{name}': module '{module}' has no function '{function}'; correct the name."
        )
    try:
        return found(**options)
    except Exception as error:
        raise InputError(
            f"factory '{name}' fails ({short(error)}); correct it, or its options in params.yaml."
        ) from error


def _unimportable(name: str, error: Exception) -> InputError:
    return InputError(
        f"factory '{name}': its module cannot be imported ({short(error)}); correct it."
    )


def make_importable() -> None:
    """Let Python find modules in the folder of the project, after all others."""
    folder = str(project_folder())
    if folder not in sys.path:
        sys.path.append(folder)


def short(error: BaseException) -> str:
    """Describe an error in a few words: its type, and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
