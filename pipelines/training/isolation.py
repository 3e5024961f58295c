"""Isolation of cells: what a method may leave behind in the process, found and put back.

Cells of many methods share a process. A method that leaves another default dtype, a global hook or
a patched function would change the cells after its own. So the state that all cells share is
compared before and after each cell. A cell that changed it has failed, and the state is restored.
"""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch.nn.modules import module as modules

#: Packages whose functions and classes no method may replace.
_OURS = ("baselines", "dpap", "pipelines")
#: Modules and classes of libraries whose functions no method may replace. The module torch is not
#: among them, because it replaces functions of its own when parts of it are imported.
_THEIRS = (
    torch.nn.functional,
    torch.Tensor,
    torch.nn.Module,
    torch.nn.Linear,
    torch.nn.Conv2d,
    torch.optim.Optimizer,
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
)
for _optimizer in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
    _optimizer([torch.zeros(1)])  # PyTorch replaces `step` of a class when it makes the first one
_CALLABLE = (types.FunctionType, types.BuiltinFunctionType, type, property, classmethod)
#: Hooks that every module of the process calls.
_HOOKS = tuple(name for name in vars(modules) if name.startswith("_global_") and "hooks" in name)
#: Setting -> how it is read, and how it is written.
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "anomaly detection": (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "the precision of products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "the working directory": (os.getcwd, os.chdir),
    "sys.path": (lambda: list(sys.path), lambda value: sys.path.__setitem__(slice(None), value)),
    "the recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
}
#: Switches of backends: the object that has them, and their names.
_SWITCHES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (torch.backends.mkldnn, ("enabled", "deterministic")),
    (torch.backends.cudnn, ("enabled", "benchmark", "deterministic", "allow_tf32")),
    (torch.backends.cuda.matmul, ("allow_tf32",)),
)


@dataclass(frozen=True)
class Shared:
    """State of the process that all cells share.

    Parameters
    ----------
    settings
        Name of a setting -> its value.
    switches
        Object and name of a switch -> its value.
    hooks
        Name of a table of hooks -> the hooks.
    functions
        Module or class, and name -> the function or class of that name, and its code.
    variables
        The environment variables.
    """

    settings: dict[str, Any]
    switches: dict[tuple[Any, str], Any]
    hooks: dict[str, dict[Any, Any]]
    functions: dict[tuple[Any, str], tuple[Any, Any]]
    variables: dict[str, str]

    @classmethod
    def now(cls) -> Shared:
        """Return the present state."""
        return cls(
            settings={name: read() for name, (read, _) in _SETTINGS.items()},
            switches={
                (owner, name): getattr(owner, name)
                for owner, names in _SWITCHES
                for name in names
                if hasattr(owner, name)
            },
            hooks={name: dict(getattr(modules, name) or {}) for name in _HOOKS},
            functions={
                (owner, name): (value, getattr(value, "__code__", None))
                for owner in _owners()
                for name, value in list(vars(owner).items())
                if isinstance(value, _CALLABLE)
            },
            variables=dict(os.environ),
        )

    def restore(self) -> list[str]:
        """Put everything back; return what was changed, in words."""
        changed = []
        for name, (read, write) in _SETTINGS.items():
            if read() != self.settings[name]:
                changed.append(name)
                write(self.settings[name])
        for (owner, name), value in self.switches.items():
            if getattr(owner, name) != value:
                changed.append(f"{owner.__name__}.{name}")
                setattr(owner, name, value)
        for name, hooks in self.hooks.items():
            if dict(table := getattr(modules, name) or {}) != hooks:
                changed.append(f"hooks of all modules ({name})")
                table.clear()
                table.update(hooks)
        changed += [f"{_name(owner)}.{name}" for owner, name in self._functions()]
        changed += [f"the variable {name}" for name in self._variables()]
        return changed

    def _functions(self) -> Iterator[tuple[Any, str]]:
        for (owner, name), (value, code) in self.functions.items():
            now = vars(owner).get(name)
            if now is not value or getattr(value, "__code__", None) is not code:
                if code is not None:
                    value.__code__ = code
                setattr(owner, name, value)
                yield owner, name

    def _variables(self) -> Iterator[str]:
        for name in os.environ.keys() - self.variables.keys():  # libraries add some
            del os.environ[name]
        for name, value in self.variables.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
                yield name


def _owners() -> Iterator[Any]:
    """Yield the modules and classes whose functions are compared."""
    yield from _THEIRS
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _OURS and module is not None:
            yield module
            for value in list(vars(module).values()):
                if isinstance(value, type) and value.__module__ == name:
                    yield value


def _name(owner: Any) -> str:
    module = getattr(owner, "__module__", "")
    return f"{module}.{owner.__qualname__}" if isinstance(owner, type) else str(owner.__name__)


@contextmanager
def no_exit() -> Iterator[None]:
    """Let `os._exit`, which ends the process without a word, raise SystemExit instead.

    Other threads may end the process, such as one that watches the process that started this one.
    """
    leave, thread = os._exit, threading.get_ident()

    def refuse(status: int) -> NoReturn:
        if threading.get_ident() != thread:
            leave(status)
        raise SystemExit(status)

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave
