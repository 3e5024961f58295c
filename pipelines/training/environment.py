"""Names this machine and its libraries in records."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from pipelines.kernels.cpu import compiler
from pipelines.networks.plans.choice import choose_plan
from pipelines.records.record import Environment
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training.machine import device_name

#: Plan of the network of a factory, which computes itself.
MODULE = "module"
#: A network of spiking neurons, where nothing is known about it.
_ANY = NetworkSpec(kind="snn", layout="1FC")


def environment(
    threads: int,
    execution: Execution,
    device: torch.device = torch.device("cpu"),  # noqa: B008 -- immutable
    network: NetworkSpec = _ANY,
) -> Environment:
    """Describe this machine, its libraries, and the plan that computes a network on a device."""
    plan = MODULE if network.factory else choose_plan(execution, network, device).name
    compiled = plan == "fused" and device.type == "cpu"
    return Environment(
        python=platform.python_version(),
        torch=torch.__version__,
        snntorch=version("snntorch"),
        torch_pruning=version("torch-pruning"),
        platform=f"{platform.system()}-{platform.machine()}",
        processor=processor(),
        device=device_name(device),
        threads=threads,
        precision=execution.precision,
        plan=plan,
        capability=torch.backends.cpu.get_cpu_capability(),
        compiler=compiler.version() if compiled else "",
    )


@cache
def processor() -> str:
    """Return vendor and model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
