"""The choice of a plan: what was asked for, as far as this machine and the neurons allow."""

from __future__ import annotations

import torch

from pipelines.kernels.cpu import norm_scan
from pipelines.kernels.gpu import scan
from pipelines.kernels.scan import NEURON
from pipelines.networks.plans.folded import Folded
from pipelines.networks.plans.fused_cpu import FusedCpu
from pipelines.networks.plans.fused_gpu import FusedGpu
from pipelines.networks.plans.plan import Plan
from pipelines.networks.plans.step import Step
from pipelines.settings.network import Execution, NetworkSpec


def choose_plan(execution: Execution, spec: NetworkSpec, device: torch.device) -> Plan:
    """Choose how a network is computed on a device.

    ``fused`` needs a C compiler on a CPU. On a GPU it needs Triton, leaky neurons, and no more time
    steps than its kernels take. Its kernels compute batch norm. Where something is missing, the
    plan is ``folded``.

    Parameters
    ----------
    execution
        Asks for a plan by its name.
    spec, device
        Of the network.
    """
    if execution.plan == "step":
        return Step(spec)
    fused = execution.plan == "fused" and spec.norm == "batch"
    if fused and device.type == "cpu" and norm_scan.available():
        return FusedCpu(spec)
    leaky = spec.neuron_model == NEURON
    if fused and leaky and scan.available(device, spec.steps):
        return FusedGpu(spec)
    return Folded(spec)
