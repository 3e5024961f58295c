"""Edits of records in a folder, as somebody would make them who forges a result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.audit.faults import faults
from pipelines.audit.seal import seal_folder
from pipelines.records.files import read_record

#: Changes the JSON document of a record in place.
Edit = Callable[[dict[str, Any]], None]


def first(folder: Path) -> Path:
    """The record in a folder whose path comes first."""
    return min(folder.rglob("*.json"))


def edit(folder: Path, change: Edit) -> None:
    """Edit the first record, and seal the folder again, as a careful forger would.

    The record becomes one file, so that an edit finds every field in it.
    """
    document = json.loads(read_record(first(folder)).to_json())
    change(document)
    first(folder).write_text(json.dumps(document))
    seal_folder(folder)


def found(folder: Path, **options: bool) -> str:
    """The sentences about all faults of a folder, one a line."""
    return "\n".join(sentence for _, sentence in faults(folder, **options))


def apply_to(*path: str | int, by: Callable[[Any], Any]) -> Edit:
    """Build an edit that replaces the value at a path by a function of it."""

    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = by(document[path[-1]])

    return change


def set_to(*path: str | int, value: Any) -> Edit:
    """Build an edit that sets the value at a path."""
    return apply_to(*path, by=lambda _: value)


def add_to(*path: str | int, number: float) -> Edit:
    """Build an edit that adds a number to the value at a path."""
    return apply_to(*path, by=lambda value: value + number)
