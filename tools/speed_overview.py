"""The speed page at a glance: a few ratios of every machine, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Groups = dict[str, list[dict[str, Any]]]

STEP, FLOOR = "snnTorch, step by step", "convolutions and linear layers alone"
JELLY, HALF = "SpikingJelly, multi-step", "fused, bfloat16"
FASHION, DEEP = "training step, fashion", "training step, 6Conv2FC"
SMALL, LARGE = (f"{group}, 8 steps, batch 128" for group in (FASHION, DEEP))
RUN = "whole run, fashion-snn, to structured density 0.25"
METHODS = "what a method adds to a training step, fashion"
SPIKES = "convolution over the share of spikes, 32 to 64 channels"
ENDS = "training step of the networks that whole runs end with, {}"
DENSITIES = "training step over structured density, fashion-snn, {}"


def on_a_gpu(machine: dict[str, Any]) -> bool:
    """Whether figures are those of a GPU."""
    return bool(machine.get("device", "cpu") != "cpu")


def name_of(machine: dict[str, Any]) -> str:
    """What computed: the name of the GPU, or of the processor."""
    return str(machine["device"] if on_a_gpu(machine) else machine["processor"])


def overview(summaries: list[dict[str, Any]]) -> Iterator[str]:
    """One row for each ratio, one column for each machine; first processors, then GPUs."""
    for rows, gpu in ((ROWS, False), (GPU_ROWS, True)):
        if found := [s for s in summaries if on_a_gpu(s["machine"]) == gpu]:
            yield from _side_by_side(found, rows)
            yield ""


def _side_by_side(
    summaries: list[dict[str, Any]], rows: dict[str, Callable[[Groups], str]]
) -> Iterator[str]:
    """A dash is what was not measured."""
    yield f"| | {' | '.join(name_of(summary['machine']) for summary in summaries)} |"
    yield f"| --- |{' ---: |' * len(summaries)}"
    for title, figure in rows.items():
        cells = []
        for summary in summaries:
            try:
                cells.append(figure(summary["groups"]))
            except (KeyError, IndexError):
                cells.append("-")
        yield f"| {title} | {' | '.join(cells)} |"


def faster(group: str, name: str, reference: str) -> Callable[[Groups], str]:
    """How many times as fast a contender is as another of its race.

    Both are compared with the race's own reference round by round, so what slows a round down
    counts for neither.
    """

    def figure(groups: Groups) -> str:
        race = groups[group][0]["race"]
        return f"{race[name]['ratio'][1] / race[reference]['ratio'][1]:.2f}"

    return figure


def total(group: str, name: str) -> Callable[[Groups], str]:
    """What all rounds of a contender take, over what those of its race's reference take."""
    return lambda groups: f"{groups[group][0]['race'][name]['share']:.2f}"


def share(method: str) -> Callable[[Groups], str]:
    """What a method adds to a training step, updates included."""

    def figure(groups: Groups) -> str:
        races = [entry["race"] for entry in groups[METHODS] if method in entry["race"]]
        return f"{races[0][method]['share']:.1%}"

    return figure


def seconds(group: str, name: str) -> Callable[[Groups], str]:
    """Median time of a test that is no race."""

    def figure(groups: Groups) -> str:
        found = [entry["seconds"] for entry in groups[group] if entry["name"] == name]
        return f"{found[0]:.2f}"

    return figure


ROWS: dict[str, Callable[[Groups], str]] = {
    "Fashion-sized network, `folded`: times as fast as snnTorch's stepping": faster(
        FASHION, "folded", STEP
    ),
    "`folded`: times as fast as SpikingJelly's multi-step mode": faster(FASHION, "folded", JELLY),
    "`fused`: times as fast as stepping": faster(FASHION, "fused", STEP),
    "`fused`: time over that of convolutions and linear layers alone": faster(
        FASHION, FLOOR, "fused"
    ),
    "`fused` in bfloat16: times as fast as stepping in float32": faster(FASHION, HALF, STEP),
    "6Conv2FC, `fused`: time over that of convolutions and linear layers alone": faster(
        DEEP, FLOOR, "fused"
    ),
    "a convolution, one in ten of its inputs a spike: times as fast as a dense one": faster(
        SPIKES, "10% of the units spike", "dense"
    ),
    "DPAP, structured: share it adds to a step of `fashion-snn`": share("dpap, structured"),
    "step at structured density 0.25, `fused`: times as fast as dense": faster(
        DENSITIES.format("fused"), "density 0.25", "density 1.0"
    ),
    "the same of the trained networks that a DPAP run and a dense one end with": faster(
        ENDS.format("fused"), "dpap, live shrink", "dense"
    ),
    "whole DPAP run with live shrink: time over that of the dense run": total(
        RUN, "dpap, live shrink"
    ),
    "whole DPAP run, masks alone: time over that of the dense run": total(RUN, "dpap, masks alone"),
    "report of 10,000 records, seconds": seconds("10,000 records", "test_report"),
    "store scan of 10,000 records, seconds": seconds("10,000 records", "test_store_scan"),
}

#: At eight steps and 128 samples; "in a run": forward and backward pass are replayed, as in a run.
GPU_ROWS: dict[str, Callable[[Groups], str]] = {
    "6Conv2FC, `fused` in bfloat16, in a run: times as fast as stepping in float32": faster(
        LARGE, f"{HALF}, replayed", STEP
    ),
    "the same: times as fast as stepping in bfloat16": faster(
        LARGE, f"{HALF}, replayed", f"{STEP}, bfloat16"
    ),
    "the same: times as fast as SpikingJelly's multi-step mode with CuPy, in float32": faster(
        LARGE, f"{HALF}, replayed", f"{JELLY}, CuPy"
    ),
    "the same: time over that of convolutions and linear layers alone in bfloat16": faster(
        LARGE, "the same in bfloat16", f"{HALF}, replayed"
    ),
    "6Conv2FC, `fused` in float32, in a run: times as fast as stepping": faster(
        LARGE, "fused, replayed", STEP
    ),
    "the same: time over that of convolutions and linear layers alone": faster(
        LARGE, FLOOR, "fused, replayed"
    ),
    "Fashion-sized network, `fused` in bfloat16, in a run: times as fast as stepping": faster(
        SMALL, f"{HALF}, replayed", STEP
    ),
    "the same: times as fast as without replay": faster(SMALL, f"{HALF}, replayed", HALF),
}
