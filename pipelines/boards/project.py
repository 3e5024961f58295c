"""The project's folder is the one that holds params.yaml."""

from __future__ import annotations

from pathlib import Path

from pipelines.common.errors import BenchError

PARAMS = "params.yaml"


def find_root(start: Path) -> Path:
    """Return the nearest folder that holds params.yaml: `start` or one of its parents.

    Parameters
    ----------
    start
        An absolute path, for example the working directory.

    Raises
    ------
    BenchError
        If there is no such folder.
    """
    for folder in (start, *start.parents):
        if (folder / PARAMS).is_file():
            return folder
    raise BenchError(
        f"there is no {PARAMS} in this folder or its parents; change into your clone of dpap-bench."
    )
