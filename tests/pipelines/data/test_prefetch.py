"""Prefetching in threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pipelines.common.errors import BenchError
from pipelines.data.prefetch import ahead


def test_results_come_in_order_ahead_of_need_and_not_too_far() -> None:
    started: list[int] = []
    open_to_all = threading.Event()

    def work(item: int) -> int:
        started.append(item)
        if item == 0:
            open_to_all.wait(5)  # the first one is the last to be ready
        return item * item

    found = ahead(work, iter(range(100)), depth=8)
    timer = threading.Timer(0.05, open_to_all.set)
    timer.start()
    assert next(found) == 0
    assert len(started) <= 9 + 1
    assert list(found) == [i * i for i in range(1, 100)]
    assert sorted(started) == list(range(100))


def test_what_is_raised_is_raised_in_its_turn_and_the_rest_is_dropped() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise BenchError("three is damaged")
        return item

    got = []

    def take(results: Iterator[int]) -> None:
        for result in results:
            got.append(result)

    with pytest.raises(BenchError, match="three is damaged"):
        take(ahead(work, range(50), depth=5))
    assert got == [0, 1, 2]


def test_threads_end_with_the_iterator() -> None:
    before = threading.active_count()
    found = ahead(lambda i: i, range(1000), depth=4)
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        pass
    assert threading.active_count() == before
