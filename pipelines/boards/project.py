"""The project's folder is the one that holds params.yaml."""

from __future__ import annotations

import os
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
        path = folder / PARAMS
        # A pipe or a link that leads nowhere counts, too: its reader says what is wrong with it.
        if os.path.lexists(path) and not path.is_dir():
            return folder
    raise BenchError(
        f"there is no {PARAMS} in this folder or its parents; change into your clone of dpap-bench."
    )
