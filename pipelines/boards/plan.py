"""What a board takes to compute: runs, training samples, operations, hours on this device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import unknown
from pipelines.data.catalogue import SOURCES
from pipelines.settings.spec import EMERGENT

#: A backward pass works out gradients of inputs and of weights: twice the forward pass.
PASSES = 3


@dataclass(frozen=True)
class Need:
    """What the runs of one workload take together.

    Parameters
    ----------
    runs
        Cells, matched runs, controls, and dense networks that post-training starts from.
    samples, evaluated
        Training samples, with forward and backward pass, and validation and test samples.
    flops
        Of all of them on the dense network, 2 x MACs, a backward pass counted as two forward.
    batch
        Samples per step that were timed.
    hours
        Of one process on this device; None where nothing was timed.
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

    Counted are cells, and all matched runs and controls that they can have. A matched run or a
    control follows a run that is ok, so fewer may be computed in the end.

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
    """Work out what a board takes, workload by workload.

    Parameters
    ----------
    params, board, workloads, methods
        Which cells, as for a sweep.
    seconds
        Time to spend on timing training steps, all workloads together; 0: none is timed.
    """
    import torch

    torch.set_num_threads(params.compute.threads)
    runs = count_runs(params, board, workloads, methods)
    names = list(dict.fromkeys(workload for workload, _ in runs))
    return [_need(params, name, runs, seconds / len(names)) for name in names]


def _need(params: Params, name: str, runs: Counter[tuple[str, str]], seconds: float) -> Need:
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
