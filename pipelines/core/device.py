"""The device of a run: the CPU or one CUDA GPU, and how time is read on it."""

from __future__ import annotations

import time

import torch

from pipelines.core.errors import InputError


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
