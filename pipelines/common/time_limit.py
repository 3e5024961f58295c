"""A time limit for a block of code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def time_limit(seconds: float, error: type[BaseException], message: str) -> Iterator[None]:
    """Raise an error in the block after some seconds.

    It has no effect outside of the main thread, and on systems without the signal SIGALRM.

    Parameters
    ----------
    seconds
        The limit in s.
    error, message
        What is raised, wherever the block is at that moment.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise error(message)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
