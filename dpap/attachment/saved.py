"""State of a pruner as plain values, so that it can be saved and loaded without pickled classes."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from dpap.attachment.shares import Several

#: Fields of a pruner that belong to the run, not to its state.
_RUN = ("network", "context")
_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset)


def encode(value: Any, names: dict[int, str]) -> Any:
    """Turn a value into tensors, numbers, strings and containers of them.

    Parameters
    ----------
    value
        Any value that a method keeps.
    names
        id of each parameter and module of the network -> its path; they are saved by name. Objects
        that are met are added.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) in names:
        return {"network": names[id(value)]}
    if isinstance(value, Tensor):
        return value.detach().clone()
    return _encode_container(value, names) or _encode_object(value, names)


def _encode_container(value: Any, names: dict[int, str]) -> dict[str, Any] | None:
    if isinstance(value, dict):
        return {"dict": [(encode(k, names), encode(v, names)) for k, v in value.items()]}
    kind = tuple if isinstance(value, torch.Size) else type(value)
    if kind in _SEQUENCES:
        return {kind.__name__: [encode(item, names) for item in value]}
    return None


def _encode_object(value: Any, names: dict[int, str]) -> dict[str, Any]:
    if isinstance(value, torch.Generator):
        return {"generator": value.get_state()}
    if not hasattr(value, "__dict__") or callable(value):
        return {"skipped": type(value).__name__}
    number = len(names)
    names[id(value)] = f"object:{number}"  # it may refer to itself, or be referred to again
    fields = {key: encode(item, names) for key, item in vars(value).items()}
    kind = type(value)
    return {"object": f"{kind.__module__}:{kind.__qualname__}", "fields": fields, "number": number}


class Decoder:
    """Turns results of `encode` back into values.

    Parameters
    ----------
    network
        The network whose parameters and modules are named.
    packages
        Top-level packages whose classes may be built.
    pruner
        The object whose state is decoded.
    """

    def __init__(self, network: nn.Module, packages: tuple[str, ...], pruner: Any) -> None:
        self.network = network
        self.packages = packages
        self.objects: dict[str, Any] = {"pruner": pruner}

    def decode(self, code: Any, before: Any = None) -> Any:
        """Decode a value; what was skipped stays as it is in `before`, the present value.

        Raises
        ------
        ValueError
            If a class of another package is named.
        """
        if not isinstance(code, dict):
            return code.clone() if isinstance(code, Tensor) else code
        if "skipped" in code:
            return before
        for key, decode in (("network", self._named), ("dict", self._dict)):
            if key in code:
                return decode(code[key], before)
        for kind in _SEQUENCES:
            if kind.__name__ in code:
                return kind(self.decode(item) for item in code[kind.__name__])
        return self._generator(code, before) if "generator" in code else self._object(code, before)

    def _dict(self, items: list[tuple[Any, Any]], before: Any) -> dict[Any, Any]:
        old = before if isinstance(before, dict) else {}
        found = {}
        for key, item in items:
            name = self.decode(key)
            found[name] = self.decode(item, old.get(name))
        return found

    def _generator(self, code: dict[str, Any], before: Any) -> torch.Generator:
        generator = before if isinstance(before, torch.Generator) else torch.Generator()
        generator.set_state(code["generator"])
        return generator

    def _named(self, name: str, _: Any) -> Any:
        kind, _, path = name.partition(":")
        if kind == "object":
            return self.objects[path]
        if kind == "parameter":
            return self.network.get_parameter(path)
        return self.network.get_submodule(path)

    def _object(self, code: dict[str, Any], before: Any) -> Any:
        module, _, name = code["object"].partition(":")
        if module.partition(".")[0] not in self.packages:
            raise ValueError(f"the state names class '{name}' of '{module}', not of this method")
        kind: Any = importlib.import_module(module)
        for part in name.split("."):
            kind = getattr(kind, part)
        made = before if type(before) is kind else kind.__new__(kind)
        self.objects[str(code["number"])] = made
        for key, item in code["fields"].items():
            object.__setattr__(made, key, self.decode(item, getattr(made, key, None)))
        return made


def pruner_state(pruner: Any, network: nn.Module) -> dict[str, Any]:
    """State of a begun pruner."""
    if isinstance(pruner, Several):
        parts = [pruner_state(part, network) for part in pruner.parts]
        return {"parts": parts, "last": encode(pruner.last, {})}
    names = {id(module): f"module:{name}" for name, module in network.named_modules()}
    names |= {id(p): f"parameter:{name}" for name, p in network.named_parameters()}
    names[id(pruner)] = "object:pruner"
    return {k: encode(v, names) for k, v in vars(pruner).items() if k not in _RUN}


def restore_pruner(pruner: Any, network: nn.Module, state: dict[str, Any]) -> None:
    """Give a begun pruner the state of another one of its class."""
    if isinstance(pruner, Several):
        if len(state.get("parts", ())) != len(pruner.parts):
            raise ValueError("the state belongs to other densities: attach with the same density")
        for part, code in zip(pruner.parts, state["parts"], strict=True):
            restore_pruner(part, network, code)
        pruner.last = Decoder(network, ("baselines",), pruner).decode(state["last"])
        return
    if "parts" in state and "last" in state:
        raise ValueError("the state has a density for each layer: attach with the same density")
    package = type(pruner).__module__.partition(".")[0]
    decoder = Decoder(network, ("baselines", "dpap", package), pruner)
    for key, code in state.items():
        object.__setattr__(pruner, key, decoder.decode(code, getattr(pruner, key, None)))
