"""A time limit ends a block that waits, and leaves nothing behind."""

from __future__ import annotations

import signal
import threading

import pytest

from pipelines.common.time_limit import time_limit


def test_a_block_that_waits_is_ended() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError, match="too long"), time_limit(0.01, TimeoutError, "too long"):
        threading.Event().wait(600)
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_block_that_ends_is_not_disturbed() -> None:
    with time_limit(600, TimeoutError, "too long"):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
