"""Names this machine and its libraries in records."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from pipelines.kernels.cpu import norm_scan as fused
from pipelines.kernels.gpu import scan as triton_scan
from pipelines.records.record import Environment
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training.machine import device_name


def environment(
    threads: int,
    execution: Execution,
    device: torch.device = torch.device("cpu"),  # noqa: B008 -- immutable
    network: NetworkSpec | None = None,
) -> Environment:
    """Describe this machine, its libraries, and how the network was really computed."""
    return Environment(
        python=platform.python_version(),
        torch=torch.__version__,
        snntorch=version("snntorch"),
        torch_pruning=version("torch-pruning"),
        platform=f"{platform.system()}-{platform.machine()}",
        processor=_processor(),
        device=device_name(device),
        threads=threads,
        precision=execution.precision,
        plan=_plan(execution, device, network),
    )


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _plan(execution: Execution, device: torch.device, network: NetworkSpec | None) -> str:
    """How networks are really computed."""
    if execution.plan != "fused" or fused.available(like := torch.zeros(1, device=device)):
        return execution.plan
    spiking = network is None or network.kind == "snn"  # for a ReLU, Triton has nothing to do
    steps = 1 if network is None else network.time_steps
    return "fused" if spiking and triton_scan.available(like, steps) else "folded"
