"""Work that is done in threads before its results are asked for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
#: Pillow lets other threads work while it decodes; more than these a data disk seldom feeds.
THREADS = min(16, os.cpu_count() or 1)


def ahead(
    work: Callable[[_Item], _Result], items: Iterable[_Item], depth: int
) -> Iterator[_Result]:
    """Yield ``work(item)`` in the order of the items, whichever thread was first.

    Parameters
    ----------
    work
        Must depend on its item alone. What it raises is raised where its result would come.
    items
        What to work on.
    depth
        Results that may wait, so that memory is bounded.
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
            for future in waiting:  # nobody asks any more
                future.cancel()
