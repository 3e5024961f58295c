"""The machine of a run: its device, its clock and its memory."""

from __future__ import annotations

import ctypes
import os
import time

import torch

from pipelines.common.errors import InputError

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # malloc.h


def find_device(name: str) -> torch.device:
    """Return the device of a run, and make float32 mean float32 on it.

    Ampere and later GPUs would otherwise round the inputs of float32 convolutions to the ten bits
    of TF32, which no other device does; `Execution.precision` is how a workload asks for less.

    Raises
    ------
    InputError
        If it is ``cuda`` and torch finds no GPU.
    """
    if name == "cuda":
        if not torch.cuda.is_available():
            raise InputError(
                "torch finds no CUDA GPU here; run on the CPU with --device cpu, or install a "
                "CUDA build of torch (TORCH_INDEX in README.md) on a machine with an NVIDIA GPU."
            )
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Name of the GPU, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def clock(device: torch.device) -> float:
    """Seconds of the performance counter, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


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
