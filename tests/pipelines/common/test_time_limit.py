"""A time limit ends a block that waits, and leaves nothing behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress

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


def swallowing() -> None:
    with suppress(TimeoutError):
        threading.Event().wait(600)


def replacing() -> None:
    try:
        threading.Event().wait(600)
    except TimeoutError:
        raise SystemError("of a parser") from None


@pytest.mark.parametrize("block", [swallowing, replacing])
def test_an_error_that_is_swallowed_or_replaced_is_raised_at_the_end(
    block: Callable[[], None],
) -> None:
    with pytest.raises(TimeoutError, match="too long"), time_limit(0.01, TimeoutError, "too long"):
        block()


def test_another_error_before_the_end_is_kept() -> None:
    with pytest.raises(ValueError, match="other"), time_limit(600, TimeoutError, "too long"):
        raise ValueError("other")
