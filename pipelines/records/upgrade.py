"""Upgrade of records of older schema versions, in memory; tests have a record of each version."""

from __future__ import annotations

from typing import Any

from pipelines.records.record import SCHEMA_VERSION


def upgrade(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a record in one file as those of the present schema.

    What an older version did not measure stays away, so it gets its default. See `SCHEMA_VERSION`
    for what each version added.
    """
    version = fields.get("schema_version", 1)
    if isinstance(version, int) and version < 4 and isinstance(fields.get("spec"), dict):
        fields = {**fields, "spec": _with_matched_to(fields["spec"])}
    return {**fields, "schema_version": SCHEMA_VERSION}


def _with_matched_to(spec: dict[str, Any]) -> dict[str, Any]:
    """Up to version 3, `RunSpec.matched_to` had the name ``twin_of``."""
    return {"matched_to" if name == "twin_of" else name: value for name, value in spec.items()}
