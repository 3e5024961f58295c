"""Errors that the user can fix: one sentence that says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A problem outside the program: a file, the network, the disk. Exit status 1."""


class InputError(BenchError):
    """An impossible request. Exit status 2."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Build the error for an unknown name, with the nearest known one."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
    return InputError(f"unknown {kind} '{name}'; {hint}")
