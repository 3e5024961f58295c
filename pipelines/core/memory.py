"""Memory of a training process."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed, instead of giving it back and asking for it again.

    Every training step frees and allocates the same large activations. By default glibc maps
    them anew each time, and the kernel clears every page again, which can cost a good part of a
    step. Other C libraries are left as they are.

    Returns
    -------
    bool
        Whether this C library took the settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))
    taken = [mallopt(what, value) == 1 for what, value in settings]
    return all(taken)


def prefer_huge_pages() -> None:
    """Let torch ask the kernel for pages of 2 MB; call it before the first tensor is made.

    A step touches hundreds of megabytes, more 4 kB pages than a processor remembers. The kernel may
    decline, and a setting of the user's own stays.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
