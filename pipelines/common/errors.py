"""Errors that the user can fix: one sentence that says what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


#: Characters that would break a line, hide text, or cannot be written in UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
#: Longest text of an error that is shown or recorded.
_LONGEST = 1000


def one_line(text: str) -> str:
    """Return a text from elsewhere as one line that can be printed and stored everywhere."""
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return _UNPRINTABLE.sub(" ", short).strip()


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
    near = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
    return InputError(f"unknown {kind} '{name[:100]}'; {hint}")
