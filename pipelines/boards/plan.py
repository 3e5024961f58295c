"""Estimate the cost of a board: runs, training samples, operations, hours on this device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import unknown
from pipelines.data.catalogue import SOURCES
from pipelines.settings.spec import EMERGENT

#: Cost of a training step in forward passes. The backward pass costs two of them, because it
#: computes gradients of inputs and of weights.
PASSES = 3


@dataclass(frozen=True)
class Need:
    """Cost of all runs of one workload.

    Parameters
    ----------
    workload
        Name of the workload.
    runs
        Number of runs: cells, matched runs, controls, and the dense networks that post-training
        starts from.
    samples
        Training samples, each with a forward and a backward pass.
    evaluated
        Validation and test samples, each with a forward pass.
    flops
        FLOPs of all these samples on the dense network. A MAC counts as 2, and a backward pass as
        two forward passes.
    batch
        Batch size that was timed; None: nothing was timed.
    hours
        Hours of one process on this device; None: nothing was timed.
    """

    workload: str
    runs: int
    samples: int
    evaluated: int
    flops: float
    batch: int | None = None
    hours: float | None = None


def count_runs(
    params: Params,
    board: str,
    workloads: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> Counter[tuple[str, str]]:
    """Count the runs of a board by workload and track.

    This counts cells, and all matched runs and controls that they can have. Matched runs and
    controls belong to runs of status ``ok``, so a sweep may compute fewer.

    Parameters
    ----------
    params
        All settings.
    board
        Name of the board.
    workloads, methods
        Names; None: all of the board.

    Returns
    -------
    Counter
        (workload, track) -> number of runs.

    Raises
    ------
    InputError
        If the board has no such workload or method.
    """
    from pipelines.methods.admission import refusal  # imports torch

    grid, runs = params.board(board), Counter[tuple[str, str]]()
    starts: set[tuple[str, int]] = set()
    for place in grid.places(params.workloads, workloads, methods):
        cell = params.spec(*place)
        controls = [replace(cell, control=kind) for kind in grid.controls]
        runs[place.workload, place.track] += 1 + sum(refusal(c) is None for c in controls)
        if place.density == EMERGENT:
            runs[place.workload, place.track] += len(params.matched_names(board, place))
        if place.track == "post-training":
            starts.add((place.workload, place.seed))
    runs.update((workload, "from-scratch") for workload, _ in starts)
    return runs


def plan_board(
    params: Params,
    board: str,
    seconds: float,
    workloads: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> list[Need]:
    """Estimate the cost of a board, workload by workload.

    Parameters
    ----------
    params
        All settings.
    board
        Name of the board.
    seconds
        Time to spend on measuring training steps, all workloads together; 0: measure nothing.
    workloads, methods
        Names; None: all of the board.

    Returns
    -------
    list of Need
        One for each workload.

    Raises
    ------
    InputError
        If the board has no such workload or method.
    BenchError
        If a workload does not fit into the memory of this device.
    """
    import torch

    torch.set_num_threads(params.compute.threads)
    runs = count_runs(params, board, workloads, methods)
    names = list(dict.fromkeys(workload for workload, _ in runs))
    return [_need(params, name, runs, seconds / len(names)) for name in names]


def _need(params: Params, name: str, runs: Counter[tuple[str, str]], seconds: float) -> Need:
    """Estimate the cost of the runs of one workload."""
    from pipelines.boards.calibration import calibrate, dense_macs, input_shape
    from pipelines.training.machine import find_device

    settings = params.workloads[name]
    if settings.data not in SOURCES:
        raise unknown("data set", settings.data, SOURCES)
    size = SOURCES[settings.data].size
    shape = input_shape(settings, size.shape)
    total = samples = evaluated = 0
    for track in ("from-scratch", "post-training"):
        number = runs[name, track]
        epochs = settings.recipe_of(track).epochs if number else 0
        total += number
        samples += number * epochs * size.train
        evaluated += number * (epochs * size.validation + size.test)
    macs = dense_macs(settings, shape, size.classes)
    flops = 2.0 * macs * (PASSES * samples + evaluated)
    if not seconds:
        return Need(name, total, samples, evaluated, flops)
    device = find_device(params.compute.device)
    pace = calibrate(settings, shape, size.classes, device, seconds)
    hours = (pace.training * samples + pace.evaluation * evaluated) / 3600
    return Need(name, total, samples, evaluated, flops, pace.batch, hours)
