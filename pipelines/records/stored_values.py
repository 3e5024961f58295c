"""Values of a run as JSON and tensors, without pickle: reading a file runs no code of the file.

`pack` walks numbers, texts, containers, tensors, random generators, optimizers, and objects of the
project's and a plug-in's own classes. Identities are kept: what was one object, or one memory of
several tensors, is so again after `unpack`. A tensor is stored as its memory and its strides,
because sums over memory in another order are rounded differently.
"""

from __future__ import annotations

import importlib
import inspect
import json
import random
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from types import FunctionType
from typing import Any, ClassVar

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

#: Top-level packages whose classes may be stored, besides that of a plug-in.
OWN = ("baselines", "dpap", "pipelines")
_DICTS: dict[str, type] = {k.__name__: k for k in (dict, Counter, OrderedDict, defaultdict)}
_LISTS: dict[str, type] = {k.__name__: k for k in (list, tuple, set, frozenset, deque)}
_FACTORIES: dict[str, type] = {k.__name__: k for k in (list, dict, set, int, float, Counter)}

Node = dict[str, Any]


class StateError(Exception):
    """A value cannot be stored; the message names the place of the value and what it is."""


@dataclass(frozen=True)
class Packed:
    """Values as JSON and tensors.

    Parameters
    ----------
    root
        The values; a list of one integer stands for a node.
    nodes
        Objects with an identity; JSON.
    memory
        Name -> bytes of the memory of tensors, uint8 [bytes].
    """

    root: Any
    nodes: list[Node]
    memory: dict[str, Tensor]

    def copy(self) -> Packed:
        """Return a copy, as it is read from a file: later changes of tensors do not reach it."""
        root, nodes = json.loads(json.dumps([self.root, self.nodes]))
        return Packed(root, nodes, {name: bytes_.clone() for name, bytes_ in self.memory.items()})


def pack(values: Any, known: Mapping[str, Any], packages: Collection[str] = ()) -> Packed:
    """Turn values into JSON and tensors.

    Parameters
    ----------
    values
        What to store.
    known
        Name -> object that exists when the values are read: it is stored as its name. The memory of
        its tensors is not stored.
    packages
        Top-level packages whose classes may be stored, besides `OWN`.

    Raises
    ------
    StateError
        If a value cannot be stored.
    """
    packer = _Packer(known, packages)
    root = packer.pack(values, "")
    return Packed(root, packer.nodes, packer.memory)


def unpack(packed: Packed, known: Mapping[str, Any], packages: Collection[str] = ()) -> Any:
    """Build the values again.

    Parameters
    ----------
    packed
        What `pack` returned.
    known
        The objects of the same names, as for `pack`.
    packages
        As for `pack`.

    Raises
    ------
    StateError
        If a class does not belong to one of the packages, or does not exist.
    """
    return _Unpacker(packed, known, packages).value(packed.root)


class _Packer:
    def __init__(self, known: Mapping[str, Any], packages: Collection[str]) -> None:
        self.packages = {*OWN, *packages}
        self.nodes: list[Node] = []
        self.memory: dict[str, Tensor] = {}
        self.kept: list[Any] = []  # so that no id is used twice
        self.at: dict[int, int] = {}
        self.known = {id(value): name for name, value in known.items()}
        self.storages = {
            value.untyped_storage().data_ptr(): f"known {name}"
            for name, value in known.items()
            if isinstance(value, Tensor) and value.numel()
        }

    def pack(self, value: Any, where: str) -> Any:
        """Return a value as JSON; objects with an identity become nodes."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if id(value) not in self.at:
            number = self.at[id(value)] = len(self.nodes)
            self.kept.append(value)
            self.nodes.append({})
            self.nodes[number] |= self._node(value, where)
        return [self.at[id(value)]]

    def _node(self, value: Any, where: str) -> Node:
        kind = type(value)
        if id(value) in self.known:
            return {"is": "known", "name": self.known[id(value)]}
        if kind in _DICTS.values():
            return self._dict(value, where)
        if kind in _LISTS.values():
            items = [self.pack(item, f"{where}[{n}]") for n, item in enumerate(value)]
            more = {"most": value.maxlen} if isinstance(value, deque) else {}
            return {"is": kind.__name__, "items": items} | more
        stores = (store for there, store in self._others.items() if isinstance(value, there))
        return next(stores, _Packer._object)(self, value, where)

    def _dict(self, value: dict[Any, Any], where: str) -> Node:
        items = [
            [self.pack(key, where), self.pack(item, f"{where}[{key!r}]" if where else str(key))]
            for key, item in value.items()
        ]
        node: Node = {"is": type(value).__name__, "items": items}
        if isinstance(value, defaultdict):
            factory = value.default_factory
            if factory not in (None, *_FACTORIES.values()):
                raise StateError(f"{where} is a defaultdict of {factory!r}")
            node["factory"] = getattr(factory, "__name__", None)
        return node

    def _tensor(self, value: Tensor, where: str) -> Node:
        if value.grad_fn is not None:
            raise StateError(f"{where} is a tensor with an autograd graph; detach() it")
        if value.layout != torch.strided:
            raise StateError(f"{where} is a tensor of layout {value.layout}")
        storage = value.untyped_storage()
        pointer = storage.data_ptr()
        if pointer not in self.storages:
            whole = torch.empty(0, dtype=torch.uint8, device=value.device).set_(storage)
            name = f"memory {len(self.memory)}"
            self.memory[name] = whole.cpu()
            if pointer:  # tensors without elements have none
                self.storages[pointer] = name
            self.kept.append(storage)
        else:
            name = self.storages[pointer]
        gradient = value.grad if value.is_leaf else None
        return {
            "is": "tensor",
            "memory": name,
            "dtype": str(value.dtype).removeprefix("torch."),
            "device": value.device.type,
            "offset": value.storage_offset(),
            "shape": list(value.shape),
            "stride": list(value.stride()),
            "parameter": isinstance(value, nn.Parameter),
            "trained": value.requires_grad,
            "gradient": self.pack(gradient, f"{where}.grad"),
        }

    def _generator(self, value: torch.Generator, where: str) -> Node:
        device, state = value.device.type, self.pack(value.get_state(), where)
        return {"is": "generator", "device": device, "state": state}

    def _numpy_generator(self, value: np.random.Generator, where: str) -> Node:
        bits = value.bit_generator
        state = self.pack(bits.state, where)
        return {"is": "numpy generator", "bits": type(bits).__name__, "state": state}

    def _python_generator(self, value: random.Random, where: str) -> Node:
        return {"is": "python generator", "state": self.pack(value.getstate(), where)}

    def _array(self, value: np.ndarray[Any, Any], where: str) -> Node:
        try:
            tensor = torch.from_numpy(value.copy())
        except TypeError as error:
            raise StateError(f"{where} is an array of {value.dtype}") from error
        return {"is": "array", "tensor": self.pack(tensor, where)}

    def _number(self, value: np.generic, where: str) -> Node:
        return {"is": "number", "array": self.pack(np.asarray(value), where)}

    def _optimizer(self, value: torch.optim.Optimizer, where: str) -> Node:
        if type(value).__module__.partition(".")[0] != "torch":
            raise StateError(f"{where} is an optimizer of {type(value).__module__}")
        return {
            "is": "optimizer",
            "name": type(value).__name__,
            "defaults": self.pack(dict(value.defaults), where),
            "groups": self.pack(list(value.param_groups), where),
            "state": self.pack(list(value.state.items()), where),
        }

    def _definition(self, value: Any, where: str) -> Node:
        return {"is": "name", "name": self._name(value, where)}

    def _struct(self, value: msgspec.Struct, where: str) -> Node:
        fields = {n: getattr(value, n) for n in value.__struct_fields__}
        return self._built(value, fields, where, "struct")

    def _object(self, value: Any, where: str) -> Node:
        slots = [n for c in type(value).__mro__ for n in getattr(c, "__slots__", ())]
        fields = dict(getattr(value, "__dict__", {}))
        fields |= {n: getattr(value, n) for n in slots if hasattr(value, n)}
        return self._built(value, fields, where, "object")

    def _built(self, value: Any, fields: dict[str, Any], where: str, kind: str) -> Node:
        if isinstance(value, dict | list | tuple | set | frozenset | BaseException | Enum):
            raise StateError(f"{where} is a {type(value).__qualname__}")
        name = self._name(type(value), where)
        packed = {n: self.pack(v, f"{where}.{n}" if where else n) for n, v in fields.items()}
        return {"is": kind, "name": name, "fields": packed}

    def _name(self, value: Any, where: str) -> str:
        """Return the place of a class or function, if it may be stored and is found again."""
        module, name = value.__module__, value.__qualname__
        if module.partition(".")[0] not in self.packages or "<" in name:
            raise StateError(f"{where} is a {module}.{name}")
        return f"{module}:{name}"

    _others: ClassVar[dict[type, Callable[[_Packer, Any, str], Node]]] = {
        Tensor: _tensor,
        torch.Generator: _generator,
        np.random.Generator: _numpy_generator,
        random.Random: _python_generator,
        np.ndarray: _array,
        FunctionType: _definition,
        type: _definition,
        np.generic: _number,
        torch.optim.Optimizer: _optimizer,
        msgspec.Struct: _struct,
    }


class _Unpacker:
    def __init__(self, packed: Packed, known: Mapping[str, Any], packages: Collection[str]) -> None:
        self.packed, self.known, self.packages = packed, known, {*OWN, *packages}
        self.built: dict[int, Any] = {}
        self.storages: dict[tuple[str, str], torch.UntypedStorage] = {}

    def value(self, value: Any) -> Any:
        """Return the value of a JSON value."""
        if not isinstance(value, list):
            return value
        (number,) = value
        if number not in self.built:
            self._build(number, self.packed.nodes[number])
        return self.built[number]

    def _build(self, number: int, node: Node) -> None:
        kind = node["is"]
        if kind in _DICTS:
            empty = [_FACTORIES.get(node["factory"] or "")] if "factory" in node else []
            self.built[number] = made = _DICTS[kind](*empty)
            for key, item in node["items"]:  # a container exists before its items: there are cycles
                dict.__setitem__(made, self.value(key), self.value(item))
        elif kind == "list":
            items: list[Any] = []
            self.built[number] = items
            items.extend(self.value(item) for item in node["items"])
        elif kind in _LISTS:
            more = [node["most"]] if "most" in node else []
            self.built[number] = _LISTS[kind](map(self.value, node["items"]), *more)
        elif kind == "object":
            self.built[number] = made = object.__new__(self._find(node["name"]))
            for name, item in node["fields"].items():
                object.__setattr__(made, name, self.value(item))
        elif kind == "struct":
            fields = {name: self.value(item) for name, item in node["fields"].items()}
            self.built[number] = self._find(node["name"])(**fields)
        else:
            self.built[number] = getattr(self, f"_{kind.replace(' ', '_')}")(node)

    def _known(self, node: Node) -> Any:
        return self.known[node["name"]]

    def _name(self, node: Node) -> Any:
        return self._find(node["name"])

    def _tensor(self, node: Node) -> Tensor:
        device, dtype = node["device"], getattr(torch, node["dtype"])
        storage = self._storage(node["memory"], device)
        tensor = torch.empty(0, dtype=dtype, device=device)
        tensor.set_(storage, node["offset"], node["shape"], node["stride"])
        if node["parameter"]:
            tensor = nn.Parameter(tensor, requires_grad=node["trained"])
        elif node["trained"]:
            tensor.requires_grad_()
        tensor.grad = self.value(node["gradient"])
        return tensor

    def _storage(self, name: str, device: str) -> torch.UntypedStorage:
        if name.startswith("known "):
            tensor: Tensor = self.known[name.removeprefix("known ")]
            return tensor.untyped_storage()
        if (name, device) not in self.storages:  # a copy of its own, aligned as torch aligns
            memory = self.packed.memory[name].to(device, copy=True)
            self.storages[name, device] = memory.untyped_storage()
        return self.storages[name, device]

    def _generator(self, node: Node) -> torch.Generator:
        generator = torch.Generator(node["device"])
        generator.set_state(self.value(node["state"]))
        return generator

    def _numpy_generator(self, node: Node) -> np.random.Generator:
        bits = getattr(np.random, node["bits"])()
        bits.state = self.value(node["state"])
        return np.random.Generator(bits)

    def _python_generator(self, node: Node) -> random.Random:
        generator = random.Random()  # noqa: S311 -- the state of a method's generator
        generator.setstate(self.value(node["state"]))
        return generator

    def _array(self, node: Node) -> np.ndarray[Any, Any]:
        array: np.ndarray[Any, Any] = self.value(node["tensor"]).numpy()
        return array

    def _number(self, node: Node) -> Any:
        return self.value(node["array"])[()]

    def _optimizer(self, node: Node) -> torch.optim.Optimizer:
        kind = getattr(torch.optim, node["name"])
        asked = inspect.signature(kind).parameters
        defaults = {n: v for n, v in self.value(node["defaults"]).items() if n in asked}
        optimizer: torch.optim.Optimizer = kind(self.value(node["groups"]), **defaults)
        for parameter, state in self.value(node["state"]):
            optimizer.state[parameter] = state
        return optimizer

    def _find(self, name: str) -> Any:
        module, _, path = name.partition(":")
        if module.partition(".")[0] not in self.packages:
            raise StateError(f"{name} is not a class of this project")
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part, None)  # type: ignore[assignment]
        if not isinstance(found, FunctionType | type):
            raise StateError(f"{name} does not exist")
        return found
