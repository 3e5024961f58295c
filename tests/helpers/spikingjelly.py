"""The part of SpikingJelly's interface that docs/loop.md uses, so that its example can run."""

from __future__ import annotations

import copy
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn


class Spike(torch.autograd.Function):
    """A step, with the derivative of a sigmoid of slope 4."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        share = (4 * ctx.saved_tensors[0]).sigmoid()
        return grad * 4 * share * (1 - share)


class MemoryModule(nn.Module):
    """A module whose states are in a dict, and have the values before a run in another one."""

    def __init__(self) -> None:
        super().__init__()
        self._memories: dict[str, Any] = {}
        self._memories_rv: dict[str, Any] = {}

    def register_memory(self, name: str, value: Any) -> None:
        self._memories[name] = value
        self._memories_rv[name] = copy.deepcopy(value)

    def reset(self) -> None:
        self._memories = copy.deepcopy(self._memories_rv)

    def __getattr__(self, name: str) -> Any:
        memories = self.__dict__.get("_memories", {})
        return memories[name] if name in memories else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_memories", {}):
            self._memories[name] = value
        else:
            super().__setattr__(name, value)


class BaseNode(MemoryModule):
    def __init__(self) -> None:
        super().__init__()
        self.register_memory("v", 0.0)


class LIFNode(BaseNode):
    """tau = 2, threshold 1, reset to 0."""

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.v, float):
            self.v = torch.full_like(x, self.v)
        self.v = self.v + (x - self.v) / 2
        spike: Tensor = Spike.apply(self.v - 1)
        self.v = (1 - spike) * self.v
        return spike


def reset_net(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, MemoryModule):
            module.reset()


def install(patch: pytest.MonkeyPatch) -> None:
    """Let ``import spikingjelly.activation_based`` find this interface."""
    package, inside = ModuleType("spikingjelly"), ModuleType("spikingjelly.activation_based")
    functional, neuron = ModuleType("functional"), ModuleType("neuron")
    functional.reset_net = reset_net  # type: ignore[attr-defined]
    neuron.LIFNode = LIFNode  # type: ignore[attr-defined]
    inside.functional, inside.neuron = functional, neuron  # type: ignore[attr-defined]
    package.activation_based = inside  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "spikingjelly", package)
    patch.setitem(sys.modules, "spikingjelly.activation_based", inside)
