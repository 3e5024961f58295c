"""Where the time of a training step goes, dense and at structured density 0.1."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from pipelines.kernels.cpu import compiler, norm_scan
from tests.perf.networks import compare, training_step, turns
from tests.perf.test_live_shrink import SHAPE, WIDTHS

ROUNDS = 25
DENSE, PRUNED = "dense", "density 0.1"
#: Name of a C function or an operation of PyTorch begins so -> part of a step.
PARTS = {
    "norm_scan": "batch norm, neurons and pooling (C)",
    "grey_convolution": "first convolution (C)",
    "spike_convolution": "convolutions of listed spikes (C)",
    "aten::convolution": "other convolutions (PyTorch)",
    "aten::mm": "linear layers (PyTorch)",
    "aten::addmm": "linear layers (PyTorch)",
}
REST = "the rest: autograd, Python, small tensors"


class Watch(TorchDispatchMode):
    """Adds up the CPU time of C functions and of operations of PyTorch, in s, by `PARTS`."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, name: str, call: Callable[[], Any]) -> Any:
        start = time.process_time()
        found = call()
        part = next((part for begin, part in PARTS.items() if name.startswith(begin)), REST)
        self.seconds[part] += time.process_time() - start
        return found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return self.timed(func.name(), lambda: func(*args, **(kwargs or {})))


def parts_of(step: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, float]:
    """Milliseconds of the parts of a step, without the rest: medians."""
    call = compiler.call
    rounds = []
    for _ in range(ROUNDS):
        with monkeypatch.context() as patch, Watch() as watch:

            def timed(source: Path, *arguments: Any, watch: Watch = watch) -> int:
                return int(watch.timed(source.stem, lambda: call(source, *arguments)))

            patch.setattr(compiler, "call", timed)
            step()
        rounds.append(watch.seconds)
    return {p: 1000 * median(r.get(p, 0) for r in rounds) for p in dict.fromkeys(PARTS.values())}


def test_parts_of_a_step(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not norm_scan.available():
        pytest.skip("needs a C compiler")
    benchmark.group = "parts of a training step, fashion-snn, fused, milliseconds"
    network, inputs = SHAPE.network(plan="fused"), SHAPE.inputs()
    widths = {DENSE: WIDTHS[1.0], PRUNED: WIDTHS[0.1]}
    steps = {name: training_step(network.narrowed(w), inputs) for name, w in widths.items()}
    for _ in range(3):
        turns(steps, defaultdict(list))()
    times: dict[str, list[float]] = {name: [] for name in steps}
    once = turns(steps, times, time.process_time)
    benchmark.pedantic(once, rounds=ROUNDS, iterations=1)
    whole = compare(times, DENSE)
    parts = {name: parts_of(step, monkeypatch) for name, step in steps.items()}
    info = benchmark.extra_info
    info["whole step, times as fast as dense"] = round(whole[PRUNED]["ratio"][1], 2)
    for name, found in parts.items():
        step = whole[name]["milliseconds"][1]
        info[f"{name}, whole step"] = round(step, 1)
        for part, milliseconds in (found | {REST: step - sum(found.values())}).items():
            info[f"{name}, {part}"] = round(milliseconds, 1)
    for part in parts[DENSE]:
        if parts[PRUNED][part]:
            info[f"{part}, times as fast"] = round(parts[DENSE][part] / parts[PRUNED][part], 2)
