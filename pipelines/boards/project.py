"""The project's folder: the one that holds params.yaml."""

from __future__ import annotations

from pathlib import Path

from pipelines.common.errors import BenchError

PARAMS = "params.yaml"


def find_root(start: Path) -> Path:
    """Return the nearest folder, from `start` upwards, that holds params.yaml.

    Raises
    ------
    BenchError
        If there is none.
    """
    for folder in (start, *start.parents):
        if (folder / PARAMS).is_file():
            return folder
    raise BenchError(f"no {PARAMS} here or above; change into your clone of dpap-bench first.")
