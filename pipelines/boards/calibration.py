"""Measure how fast a workload trains on this device, and count its operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import process_time

import torch
from torch import Tensor

from pipelines.common.errors import BenchError
from pipelines.data.events import binning_of
from pipelines.networks.initial import build_network
from pipelines.networks.network import Network
from pipelines.settings.workload import Loss, Workload
from pipelines.training.cost import ActivityCounter, operations
from pipelines.training.loss import loss_of
from pipelines.training.machine import clock
from pipelines.training.trainer import make_optimizer

#: Share of the pixels of random event frames that hold an event.
_EVENTS = 0.05
#: Memory that a process takes on a GPU besides tensors, for the CUDA context and libraries, in
#: bytes; and the share of the memory of a GPU that cells may take together.
_CONTEXT, _SHARE = 2**29, 0.9


@dataclass(frozen=True)
class Pace:
    """Time that a device needs for one sample; on a CPU, processor time of all threads.

    Parameters
    ----------
    training
        Seconds per training sample: forward pass, backward pass and optimizer step.
    evaluation
        Seconds per evaluated sample: forward pass.
    batch
        Batch size that was measured. It is smaller than that of the recipe if the larger batch
        does not fit into memory or takes too long.
    memory
        Largest memory that the steps took on a GPU, in bytes; None on a CPU.
    """

    training: float
    evaluation: float
    batch: int
    memory: int | None = None


def cells_that_fit(total: int, steps: int, data: int) -> int:
    """Return how many cells fit on a GPU at a time, each in a process of its own; at least one.

    Parameters
    ----------
    total
        Memory of the GPU, in bytes.
    steps
        Memory that training steps take, in bytes; see `Pace.memory`.
    data
        Size of the data set, which each process holds, in bytes.
    """
    return max(1, int(_SHARE * total) // (steps + data + _CONTEXT))


def input_shape(settings: Workload, sample: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the shape of a network's input at one time step.

    Parameters
    ----------
    settings
        The workload.
    sample
        Shape of a sample, or of the sensor for event data, [C, H, W].

    Returns
    -------
    tuple of int
        [C, H, W]; height and width are smaller than the sensor's if the workload scales frames.
    """
    binning = binning_of(settings)
    if binning is None:
        return sample
    channels, height, width = sample
    *_, rows, columns = binning.shape(height, width)
    return channels, rows, columns


def calibrate(
    settings: Workload,
    shape: tuple[int, int, int],
    classes: int,
    device: torch.device,
    seconds: float,
) -> Pace:
    """Time training steps of the dense network on random samples.

    The batch size doubles until one of these holds: it is that of the recipe, a step takes more
    than a quarter of the time that is left, or the batch does not fit into memory. The rest of the
    time is spent on more steps of the last batch size.

    Parameters
    ----------
    settings
        The workload.
    shape
        Shape of the network's input at one time step, [C, H, W].
    classes
        Number of classes.
    device
        The device to measure.
    seconds
        Approximate time to spend.

    Returns
    -------
    Pace
        Medians of the measured times.

    Raises
    ------
    BenchError
        If not even the smallest batch fits into memory.
    """
    timed, gpu = settings.frames is not None, device.type == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats(device)
    network = build_network(
        settings.network, shape, classes, 0, settings.execution, timed=timed
    ).to(device)
    step = partial(_step, network, make_optimizer(network, settings.recipe), settings.recipe.loss)
    end, sizes = clock(device) + seconds, _sizes(settings.recipe.batch_size)
    batch, times = 0, [float("inf")]
    for size in sizes:
        inputs = _samples(settings, shape, size).to(device)
        try:
            _seconds(partial(step, inputs), device)
            taken = _seconds(partial(step, inputs), device)
        except torch.OutOfMemoryError:
            break
        batch, times = size, [taken]
        if taken > (end - clock(device)) / 4:
            break
    if not batch:
        raise BenchError(
            f"a batch of two samples for the network {settings.network.title} does not fit into "
            "the memory of this device; use a larger device, or --seconds 0 to measure no time."
        )
    inputs = _samples(settings, shape, batch).to(device)
    while clock(device) + times[-1] < end:
        times.append(_seconds(partial(step, inputs), device))
    network.eval()
    with torch.no_grad():
        network(inputs)
        forward = median(_seconds(partial(network, inputs), device) for _ in range(3))
    memory = torch.cuda.max_memory_reserved(device) if gpu else None
    return Pace(median(times) / batch, forward / batch, batch, memory)


def dense_macs(settings: Workload, shape: tuple[int, int, int], classes: int) -> int:
    """Count the MACs of the dense network in the forward pass of one sample, all time steps.

    Parameters
    ----------
    settings
        The workload.
    shape
        Shape of the network's input at one time step, [C, H, W].
    classes
        Number of classes.
    """
    timed = settings.frames is not None
    network = build_network(settings.network, shape, classes, 0, timed=timed).eval()
    counter = ActivityCounter(network.steps, network)
    with torch.no_grad():
        counter.add(network.run(_samples(settings, shape, 1))[1])
    return sum(dense for dense, _, _ in operations(network, counter).values())


def _sizes(largest: int) -> list[int]:
    """Return 2, 4, 8, ... and the largest batch size."""
    return [2**i for i in range(1, largest.bit_length()) if 2**i < largest] + [largest]


def _samples(settings: Workload, shape: tuple[int, int, int], size: int) -> Tensor:
    """Draw random inputs: images [B, C, H, W], or binary event frames [T, B, C, H, W]."""
    draw = torch.Generator().manual_seed(0)
    binning = binning_of(settings)
    if binning is None:
        return torch.randn(size, *shape, generator=draw)
    frames = torch.rand(binning.steps, size, *shape, generator=draw)
    return (frames < _EVENTS).float()


def _step(network: Network, optimizer: torch.optim.Optimizer, kind: Loss, inputs: Tensor) -> None:
    """Run one training step."""
    labels = torch.arange(inputs.shape[-4], device=inputs.device) % network.classes
    optimizer.zero_grad(set_to_none=True)
    loss_of(kind, network(inputs), labels).backward()
    optimizer.step()


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Run a function once and return the seconds that it took on the device.

    On a CPU these are seconds of processor time, of all threads together, so that other programs on
    the machine do not change the estimate.
    """
    time = process_time if device.type == "cpu" else partial(clock, device)
    start = time()
    work()
    return time() - start
