"""Resume points: the state of a run that has not ended, from which the run goes on.

A resume point is one safetensors file with the memory of all tensors. Its metadata hold the rest
as JSON, and say which run, code, parent and environment it belongs to. It is deleted when the
record of the run is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipelines.common.files import atomic_file
from pipelines.records.stored_values import Packed


def write_resume_point(path: Path, identity: Mapping[str, str], packed: Packed) -> None:
    """Write a resume point, atomically: no reader sees half a file.

    Parameters
    ----------
    path
        The file.
    identity
        What the run depends on, such as its run id and the digest of its code.
    packed
        The state of the run.

    Raises
    ------
    BenchError
        If the file cannot be written.
    """
    state = json.dumps([packed.root, packed.nodes])
    metadata = {"state": state, "sha256": _digest(identity, state, packed.memory)} | dict(identity)
    content = save(packed.memory or {"none": torch.zeros(0)}, metadata)
    with atomic_file(path) as file:
        file.write(content)


def read_resume_point(path: Path, identity: Mapping[str, str]) -> Packed | None:
    """Read a resume point, if it can be used.

    Returns
    -------
    Packed or None
        None if the file does not exist or is damaged, or if it has another identity.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state, digest = metadata.pop("state", ""), metadata.pop("sha256", "")
            if metadata != identity:
                return None
            memory = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    memory.pop("none", None)
    if digest != _digest(identity, state, memory):
        return None
    root, nodes = json.loads(state)
    return Packed(root, nodes, memory)


def _digest(identity: Mapping[str, str], state: str, memory: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps([dict(sorted(identity.items())), state]).encode())
    for name, content in sorted(memory.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content.numpy().data)
    return digest.hexdigest()
