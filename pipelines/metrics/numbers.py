"""How numbers are printed in tables and on the page."""

from __future__ import annotations

#: Printed where there is no value.
MISSING = "\u2013"


def percent(share: float | None, digits: int = 2) -> str:
    """Print a share in [0, 1] in percent, without the sign."""
    return MISSING if share is None else f"{100 * share:.{digits}f}"


def points(difference: float | None) -> str:
    """Print a difference of two shares in percentage points, with its sign."""
    return MISSING if difference is None else f"{round(100 * difference, 2) + 0.0:+.2f}"


def count(value: float | None) -> str:
    """Print a rounded count with thousands separators; zero counts as missing."""
    return MISSING if not value else f"{round(value):,}"


def decimal(value: float | None, digits: int = 2) -> str:
    """Print a number with thousands separators."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def target(density: float | str) -> str:
    """Print a target density, which may be a word such as ``emergent``."""
    return density if isinstance(density, str) else f"{density:g}"
