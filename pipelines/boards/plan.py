"""Estimate the cost of a board: runs, training samples, operations, hours on this device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from pipelines.boards.coverage import runs_of
from pipelines.boards.params import Params
from pipelines.common.factory import project_folder
from pipelines.data.catalogue import size_of
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.own_data import own_data
from pipelines.settings.spec import RunSpec

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
        Core hours on a CPU, hours of one process on a GPU; None: nothing was timed.
    fitting
        How many cells fit on the GPU at a time; None on a CPU, or if nothing was timed.
    """

    workload: str
    runs: int
    samples: int
    evaluated: int
    flops: float
    batch: int | None = None
    hours: float | None = None
    fitting: int | None = None


def count_runs(
    params: Params,
    board: str,
    workloads: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    stores: Sequence[Store] = (),
    densities: Sequence[float | str] | None = None,
) -> Counter[tuple[str, str]]:
    """Count the runs of a board that have no valid record, by workload and track.

    This counts cells, and all matched runs and controls that they can have. Matched runs and
    controls belong to runs of status ``ok``, so a sweep may compute fewer.

    Parameters
    ----------
    params
        All settings.
    board
        Name of the board.
    workloads, methods, densities
        As for `Board.places`; None: all of the board.
    stores
        Where records are looked for: the store of the board, then those of other boards, from which
        a sweep copies. Without any, all runs are counted.

    Returns
    -------
    Counter
        (workload, track) -> number of runs.

    Raises
    ------
    InputError
        If the board has no such workload, method or density.
    """

    def find(spec: RunSpec) -> RunRecord | None:
        there = (store for store in stores if store.path(spec).exists())
        return next((record for store in there if (record := store.valid(spec))), None)

    runs, starts = Counter[tuple[str, str]](), set[tuple[str, int]]()
    for spec, found in runs_of(params, board, find, workloads, methods, densities, admit=True):
        if found:
            continue
        runs[spec.workload, spec.track] += 1
        if spec.track == "post-training" and not _has_start(spec, stores[:1]):
            starts.add((spec.workload, spec.seed))
    runs.update((workload, "from-scratch") for workload, _ in starts)
    return runs


def _has_start(spec: RunSpec, stores: Sequence[Store]) -> bool:
    """Whether the trained network that a post-training run starts from exists."""
    from pipelines.records.checkpoint import checkpoint_path

    return any(checkpoint_path(store.checkpoints, spec).exists() for store in stores)


def plan_board(
    params: Params,
    board: str,
    seconds: float,
    workloads: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    stores: Sequence[Store] = (),
    densities: Sequence[float | str] | None = None,
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
    workloads, methods, densities
        As for `Board.places`; None: all of the board.
    stores
        As for `count_runs`.

    Returns
    -------
    list of Need
        One for each workload that has runs.

    Raises
    ------
    InputError
        If the board has no such workload, method or density.
    BenchError
        If a workload does not fit into the memory of this device.
    """
    import torch

    torch.set_num_threads(params.compute.threads)
    runs = count_runs(params, board, workloads, methods, stores, densities)
    names = list(dict.fromkeys(workload for workload, _ in runs))
    return [_need(params, name, runs, seconds / len(names)) for name in names]


def _need(params: Params, name: str, runs: Counter[tuple[str, str]], seconds: float) -> Need:
    """Estimate the cost of the runs of one workload."""
    import torch

    from pipelines.boards.calibration import calibrate, cells_that_fit, dense_macs, input_shape
    from pipelines.training.machine import find_device

    settings = params.workloads[name]
    size = size_of(settings.data, project_folder() / "data")
    own = own_data(settings.data) is not None
    shape = size.shape if own else input_shape(settings, size.shape)
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
    fitting = None
    if pace.memory is not None:
        # Frames of events are kept as bytes, one for each time step; pixels as float32 at most.
        each = 4 if settings.frames is None else settings.network.time_steps
        data = (size.train + size.validation + size.test) * prod(shape) * each
        there = torch.cuda.get_device_properties(device).total_memory
        fitting = cells_that_fit(there, pace.memory, data)
    return Need(name, total, samples, evaluated, flops, pace.batch, hours, fitting)
