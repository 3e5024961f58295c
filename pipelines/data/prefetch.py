"""Prefetching: work done ahead in threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
#: Pillow releases the GIL while it decodes; a disk seldom feeds more threads than this.
THREADS = min(16, os.cpu_count() or 1)


def ahead(
    work: Callable[[_Item], _Result], items: Iterable[_Item], depth: int
) -> Iterator[_Result]:
    """Yield ``work(item)`` in the order of the items.

    Parameters
    ----------
    work
        Function of an item alone. Its error is raised in place of its result.
    items
        Arguments of `work`.
    depth
        Largest number of results that wait; bounds the memory.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # the iterator was closed
                future.cancel()
