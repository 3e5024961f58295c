"""Ends a sweep whose DVC was killed: a second one could not start beside it."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

#: Variable that DVC sets for the commands of its stages.
OF_DVC = "DVC_STAGE"
#: Seconds between two looks.
SECONDS = 1.0


def leave_with_dvc() -> None:
    """End this process soon after the DVC that started it, even if that was killed.

    Without this, a killed DVC leaves the sweep of its stage running. It has no effect for commands
    that DVC did not start.
    """
    if OF_DVC in os.environ:
        leave_with(ancestors())


def leave_with(started_by: Sequence[int]) -> None:
    """End this process once its ancestors are not these any more.

    Parameters
    ----------
    started_by
        The process that started this one, and further ones above, as `ancestors` gives them.
    """

    def watch() -> None:
        while ancestors() == list(started_by):
            threading.Event().wait(SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def ancestors() -> list[int]:
    """Return the id of the parent process; if that is a shell, also the id of the shell's parent.

    DVC starts commands by a shell, which stays or not. Where the system does not tell the second
    id, it is left out.
    """
    parent = os.getppid()
    try:
        status = Path(f"/proc/{parent}/stat").read_text()
    except OSError:
        return [parent]
    name, rest = status.partition("(")[2].rsplit(")", 1)
    return [parent, int(rest.split()[1])] if name.endswith("sh") else [parent]
