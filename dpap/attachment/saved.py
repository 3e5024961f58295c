"""State of a pruner as plain values, so that it can be saved and loaded without pickled classes."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

#: Fields of a pruner that belong to the run, not to its state.
_RUN = ("network", "context")


def encode(value: Any, names: dict[int, str]) -> Any:
    """Turn a value into tensors, numbers, strings and containers of them.

    Parameters
    ----------
    value
        Any value that a method keeps.
    names
        id of each parameter and module of the network -> its path; they are saved by name.
    """
    if id(value) in names:
        return {"network": names[id(value)]}
    if isinstance(value, torch.Generator):
        return {"generator": value.get_state()}
    if isinstance(value, Tensor):
        return value.detach().clone()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {"dict": [(encode(k, names), encode(v, names)) for k, v in value.items()]}
    for kind in (list, tuple, set, frozenset):
        if type(value) is kind:
            return {kind.__name__: [encode(item, names) for item in value]}
    if isinstance(value, torch.Size):
        return {"tuple": list(value)}
    if hasattr(value, "__dict__") and not callable(value):
        fields = {key: encode(item, names) for key, item in vars(value).items()}
        kind = type(value)
        return {"object": f"{kind.__module__}:{kind.__qualname__}", "fields": fields}
    return {"skipped": type(value).__name__}


def decode(code: Any, network: nn.Module, packages: tuple[str, ...], before: Any = None) -> Any:
    """Turn a result of `encode` back; what was skipped stays as it is in `before`.

    Parameters
    ----------
    code
        Result of `encode`.
    network
        The network whose parameters and modules are named.
    packages
        Top-level packages whose classes may be built.
    before
        The present value.

    Raises
    ------
    ValueError
        If a class of another package is named.
    """
    if isinstance(code, Tensor):
        return code.clone()
    if not isinstance(code, dict):
        return code
    if "network" in code:
        path, kind = code["network"].split(":")[1], code["network"].split(":")[0]
        return network.get_parameter(path) if kind == "parameter" else network.get_submodule(path)
    if "generator" in code:
        generator = before if isinstance(before, torch.Generator) else torch.Generator()
        generator.set_state(code["generator"])
        return generator
    if "skipped" in code:
        return before
    if "dict" in code:
        old = before if isinstance(before, dict) else {}
        found = {}
        for key, item in code["dict"]:
            name = decode(key, network, packages)
            found[name] = decode(item, network, packages, old.get(name))
        return found
    for kind in (list, tuple, set, frozenset):
        if kind.__name__ in code:
            return kind(decode(item, network, packages) for item in code[kind.__name__])
    return _object(code, network, packages, before)


def _object(code: dict[str, Any], network: nn.Module, packages: tuple[str, ...], before: Any) -> Any:
    module, _, name = code["object"].partition(":")
    if module.partition(".")[0] not in packages:
        raise ValueError(f"the state names class '{name}' of '{module}', not of this method")
    kind: Any = importlib.import_module(module)
    for part in name.split("."):
        kind = getattr(kind, part)
    made = before if type(before) is kind else kind.__new__(kind)
    for key, item in code["fields"].items():
        now = decode(item, network, packages, getattr(made, key, None))
        object.__setattr__(made, key, now)
    return made


def names_in(network: nn.Module) -> dict[int, str]:
    """Id of each parameter and module of a network -> its kind and path."""
    names = {id(module): f"module:{name}" for name, module in network.named_modules()}
    return names | {id(p): f"parameter:{name}" for name, p in network.named_parameters()}


def pruner_state(pruner: Any, network: nn.Module) -> dict[str, Any]:
    """State of a begun pruner."""
    names = names_in(network)
    return {k: encode(v, names) for k, v in vars(pruner).items() if k not in _RUN}


def restore_pruner(pruner: Any, network: nn.Module, state: dict[str, Any]) -> None:
    """Give a begun pruner the state of another one of its class."""
    package = type(pruner).__module__.partition(".")[0]
    packages = ("baselines", "dpap", package)
    for key, code in state.items():
        object.__setattr__(
            pruner, key, decode(code, network, packages, getattr(pruner, key, None))
        )
