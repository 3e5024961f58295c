"""The machine of a run: its device, its clock and its memory settings."""

from __future__ import annotations

import ctypes
import os
import time

import torch

from pipelines.common.errors import InputError

#: Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def find_device(name: str) -> torch.device:
    """Return the device of a run, and switch off TF32 on a GPU.

    With TF32, Ampere and later GPUs round the inputs of float32 convolutions to ten bits of
    mantissa, which no other device does. A workload asks for a lower precision by
    `Execution.precision`.

    Parameters
    ----------
    name
        ``cpu`` or ``cuda``.

    Raises
    ------
    InputError
        If `name` is ``cuda``, and torch finds no GPU.
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
    """Return the name of the GPU, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def clock(device: torch.device) -> float:
    """Return the performance counter in s, after the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory, instead of returning it to the operating system.

    Each training step frees and allocates the same large activations. By default, glibc maps new
    memory for them each time, and the operating system clears every page of it, which can take a
    good part of a step. C libraries other than glibc are left as they are.

    Returns
    -------
    bool
        Whether the C library accepted the settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))
    accepted = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(accepted)


def prefer_huge_pages() -> None:
    """Make torch ask the operating system for memory pages of 2 MB.

    A training step uses hundreds of megabytes. In pages of 4 kB these are more pages than the
    processor's TLB holds. Call this before the first tensor is made. The operating system may
    decline; a setting of the user is kept.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
