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

    The error ends the block wherever it is at that moment. Code below may swallow it (a callback of
    the garbage collector) or replace it by another error (a parser in C); then it is raised at the
    end of the block. The limit has no effect outside of the main thread, and on systems without the
    signal SIGALRM.

    Parameters
    ----------
    seconds
        The limit in s.
    error, message
        What is raised.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    is_up = False

    def stop(*_: object) -> NoReturn:
        nonlocal is_up
        is_up = True
        raise error(message)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except Exception as other:
        if is_up and not isinstance(other, error):
            raise error(message) from other
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if is_up:
        raise error(message)
