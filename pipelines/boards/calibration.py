"""How fast a workload trains on this device, and how many operations it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

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

#: Share of the pixels of made-up event frames that hold an event.
_EVENTS = 0.05


@dataclass(frozen=True)
class Pace:
    """What a device takes for one sample.

    Parameters
    ----------
    training, evaluation
        Seconds for a sample that is trained on, and for one that is evaluated.
    batch
        Samples per step that were measured; fewer than the recipe's where those do not fit.
    """

    training: float
    evaluation: float
    batch: int


def input_shape(settings: Workload, sample: tuple[int, int, int]) -> tuple[int, int, int]:
    """Shape of a network's input at one step, of samples or sensors of a shape [C, H, W]."""
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
    """Time training steps of the dense network on made-up samples.

    Batches double in size until they are the recipe's, or until a step takes a quarter of the
    time that is left or no longer fits into memory; the rest of the time repeats the last size.

    Parameters
    ----------
    settings
        The workload.
    shape, classes
        Of its inputs, [C, H, W], and its labels.
    device
        Where to run.
    seconds
        Time to spend, roughly.

    Raises
    ------
    BenchError
        If not even the smallest batch fits into memory.
    """
    network = build_network(settings.network, shape, classes, 0, settings.execution).to(device)
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
            f"two samples of {settings.network.layout} do not fit into memory here; plan on a "
            "larger device, or with --seconds 0."
        )
    inputs = _samples(settings, shape, batch).to(device)
    while clock(device) + times[-1] < end:
        times.append(_seconds(partial(step, inputs), device))
    network.eval()
    with torch.no_grad():
        network(inputs)
        forward = median(_seconds(partial(network, inputs), device) for _ in range(3))
    return Pace(median(times) / batch, forward / batch, batch)


def dense_macs(settings: Workload, shape: tuple[int, int, int], classes: int) -> int:
    """Multiply-accumulates of one sample over all time steps, dense network, forward."""
    network = build_network(settings.network, shape, classes, 0).eval()
    counter = ActivityCounter(network.steps)
    with torch.no_grad():
        counter.add(network.run(_samples(settings, shape, 1))[1])
    return sum(dense for dense, _, _ in operations(network, counter).values())


def _sizes(largest: int) -> list[int]:
    """2, 4, 8, ... and the largest."""
    return [2**i for i in range(1, largest.bit_length()) if 2**i < largest] + [largest]


def _samples(settings: Workload, shape: tuple[int, int, int], size: int) -> Tensor:
    """Made-up inputs, as a network takes them."""
    draw = torch.Generator().manual_seed(0)
    binning = binning_of(settings)
    if binning is None:
        return torch.randn(size, *shape, generator=draw)
    frames = torch.rand(binning.steps, size, *shape, generator=draw)
    return (frames < _EVENTS).float()


def _step(network: Network, optimizer: torch.optim.Optimizer, kind: Loss, inputs: Tensor) -> None:
    labels = torch.arange(inputs.shape[-4], device=inputs.device) % network.classes
    optimizer.zero_grad(set_to_none=True)
    loss_of(kind, network(inputs), labels).backward()
    optimizer.step()


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    start = clock(device)
    work()
    return clock(device) - start
