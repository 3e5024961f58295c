"""The command that says what a board takes, before anybody starts it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.common.alignment import align

if TYPE_CHECKING:
    from pipelines.boards.plan import Need


def plan(
    board: Annotated[str, typer.Option(help="See: dpap-bench list boards")] = "paper",
    workload: Annotated[list[str] | None, typer.Option(help="Only these workloads.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these methods.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="To spend on timing training steps here; 0: time none.")
    ] = 60,
    device: Annotated[
        Literal["cpu", "cuda"] | None,
        typer.Option(help="Default: compute.device of params.yaml."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what a board takes: runs, samples, FLOPs, and hours on this device."""
    from pipelines.boards.params import load_params
    from pipelines.boards.plan import plan_board
    from pipelines.boards.project import find_root
    from pipelines.training.machine import device_name, find_device

    params = load_params(find_root(Path.cwd()), device)
    needs = plan_board(params, board, seconds, workload, method)
    name = device_name(find_device(params.compute.device))
    if as_json:
        document = {"board": board, "device": name, "needs": [asdict(need) for need in needs]}
        print(json.dumps(document, indent=1, allow_nan=False))
        return
    threads = "one thread" if params.compute.threads == 1 else f"{params.compute.threads} threads"
    print(to_text(needs, f"{threads} of this CPU" if name == "cpu" else name))


def to_text(needs: Sequence[Need], device: str) -> str:
    """Say what the runs take, as a table for people, and what its figures rest on."""
    head = ("workload", "runs", "training samples", "FLOPs", "timed batch", "hours")
    lines = [head, *(_line(need) for need in needs), _total(needs)]
    table = ["  ".join(line) for line in align(lines, numbers=True)]
    timed = any(need.hours is not None for need in needs)
    return "\n".join([*table, "", _basis(device, timed=timed)])


def _line(need: Need) -> tuple[str, ...]:
    batch = "" if need.batch is None else str(need.batch)
    return need.workload, *_amounts(need.runs, need.samples, need.flops), batch, _hours([need])


def _total(needs: Sequence[Need]) -> tuple[str, ...]:
    sums = (sum(n.runs for n in needs), sum(n.samples for n in needs), sum(n.flops for n in needs))
    return "together", *_amounts(*sums), "", _hours(needs)


def _amounts(runs: int, samples: int, flops: float) -> tuple[str, str, str]:
    return f"{runs:,}", f"{samples:,}", f"{flops:.2e}"


def _hours(needs: Sequence[Need]) -> str:
    hours = [need.hours for need in needs if need.hours is not None]
    return f"{sum(hours):,.1f}" if hours else "\u2013"


def _basis(device: str, *, timed: bool) -> str:
    """What the figures are made of."""
    counted = (
        "Runs: every cell, and every matched run and control that the cells can have.\n"
        "FLOPs: 2 x MACs of the dense network; a backward pass counts as two forward, and the\n"
        "validation after each epoch and the test are in them.\n"
    )
    hours = (
        f"Hours: of one process on {device}; steps and evaluations of the dense network on\n"
        "made-up samples in memory were timed. What methods add, what live shrink saves and the\n"
        "reading of files are not in them."
    )
    return counted + (hours if timed else "Hours: none; --seconds 0 times nothing.")
