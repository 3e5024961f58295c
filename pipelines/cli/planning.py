"""The command that estimates the cost of a board before it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import (
    BoardName,
    DeviceName,
    Json,
    OnlyDensities,
    OnlyMethods,
    OnlyWorkloads,
    print_json,
    project_root,
)
from pipelines.common.alignment import align

if TYPE_CHECKING:
    from pipelines.boards.plan import Need


def plan(
    board: BoardName = "paper",
    workload: OnlyWorkloads = None,
    method: OnlyMethods = None,
    density: OnlyDensities = None,
    seconds: Annotated[
        float,
        typer.Option(min=0, help="Seconds to spend on measuring training steps; 0: no hours."),
    ] = 60,
    missing: Annotated[
        bool,
        typer.Option(
            "--missing", help="Count only the runs that have no valid record, as a sweep does."
        ),
    ] = False,
    device: DeviceName = None,
    as_json: Json = False,
) -> None:
    """Estimate the cost of a board.

    The table shows runs, training samples, FLOPs, and hours on this device.
    """
    from pipelines.boards.params import load_params, read_densities
    from pipelines.boards.plan import plan_board
    from pipelines.records.store import board_store
    from pipelines.training.machine import device_name, find_device

    root = project_root()
    params = load_params(root, device)
    names = dict.fromkeys([board, *params.boards]) if missing else ()
    stores = [board_store(root, name) for name in names]
    densities = read_densities(density)
    needs = plan_board(params, board, seconds, workload, method, stores, densities)
    name = device_name(find_device(params.compute.device))
    if as_json:
        print_json({"board": board, "device": name, "needs": [asdict(need) for need in needs]})
        return
    threads = "one thread" if params.compute.threads == 1 else f"{params.compute.threads} threads"
    where = f"core hours of {threads} of this CPU" if name == "cpu" else f"one process on {name}"
    print(to_text(needs, where, missing=missing))


def to_text(needs: Sequence[Need], device: str, *, missing: bool = False) -> str:
    """Return the costs as a table, and below it how its figures were obtained.

    Parameters
    ----------
    needs
        Costs, workload by workload.
    device
        The device that was measured, in words.
    missing
        Whether only the runs without a valid record were counted.
    """
    if not needs:
        return "Nothing is missing: every run has a valid record."
    head = ("workload", "runs", "training samples", "FLOPs", "timed batch", "hours")
    lines = [head, *(_line(need) for need in needs), _total(needs)]
    table = ["  ".join(line) for line in align(lines, numbers=True)]
    timed = any(need.hours is not None for need in needs)
    return "\n".join([*table, "", _basis(device, timed=timed, missing=missing), *_fitting(needs)])


def _fitting(needs: Sequence[Need]) -> list[str]:
    """Say how many cells fit on the GPU, workload by workload."""
    fits = [f"{need.workload} {need.fitting}" for need in needs if need.fitting is not None]
    return [f"Cells that fit on this GPU at a time, by memory: {', '.join(fits)}."] if fits else []


def _line(need: Need) -> tuple[str, ...]:
    """Return the row of one workload."""
    batch = "" if need.batch is None else str(need.batch)
    return need.workload, *_amounts(need.runs, need.samples, need.flops), batch, _hours([need])


def _total(needs: Sequence[Need]) -> tuple[str, ...]:
    """Return the row of sums."""
    sums = (sum(n.runs for n in needs), sum(n.samples for n in needs), sum(n.flops for n in needs))
    return "total", *_amounts(*sums), "", _hours(needs)


def _amounts(runs: int, samples: int, flops: float) -> tuple[str, str, str]:
    return f"{runs:,}", f"{samples:,}", f"{flops:.2e}"


def _hours(needs: Sequence[Need]) -> str:
    hours = [need.hours for need in needs if need.hours is not None]
    return f"{sum(hours):,.1f}" if hours else "\u2013"


def _basis(device: str, *, timed: bool, missing: bool) -> str:
    """Say how the figures were obtained."""
    runs = (
        "Runs: those without a valid record, and all matched runs and controls that these can "
        "have.\n"
        if missing
        else "Runs: all cells, and all matched runs and controls that the cells can have.\n"
    )
    counted = (
        f"{runs}"
        "FLOPs: 2 x MACs of the dense network. A backward pass counts as two forward passes. The\n"
        "validation after each epoch and the test are included.\n"
    )
    hours = (
        f"Hours: {device}. Training steps and evaluations of the dense network were\n"
        "timed on random samples in memory. The estimate leaves out the work of the methods, the\n"
        "time that live shrink saves, and the reading of files."
    )
    return counted + (hours if timed else "Hours: none, because --seconds 0 measures nothing.")
