"""Errors that the user can fix: one sentence that says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class BenchError(Exception):
    """A problem outside the program: a file, the network, the disk. Exit status 1."""


class InputError(BenchError):
    """An impossible request. Exit status 2."""


def first_fault(error: ValidationError) -> str:
    """Return the first fault that Pydantic found: the path of the field, and what is wrong."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}." if where else f"{first['msg']}."


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Build the error for an unknown name, with the nearest known one."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
    return InputError(f"unknown {kind} '{name}'; {hint}")
