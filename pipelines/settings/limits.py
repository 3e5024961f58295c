"""Limits of settings: a cell beyond them is a slip of the pen, and would never end."""

from __future__ import annotations

#: A name as part of a path; a colon separates method and variant.
NAME = r"\w[\w.:-]*"
EPOCHS = 100_000
BATCH = 1 << 20
STEPS = 10_000
THREADS = 1024
#: Units of one layer; characters of a layout.
UNITS, LAYOUT = 1 << 20, 10_000
