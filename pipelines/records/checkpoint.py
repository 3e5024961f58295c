"""Dense networks that post-training starts from: files that say what they are and who made them.

Every method of a workload and seed starts from the same file, and each record keeps its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipelines.common.files import atomic_file
from pipelines.settings.spec import RunSpec


@dataclass(frozen=True)
class Checkpoint:
    """State of a dense network (weights, batch norm statistics, beta), and its hash."""

    state: dict[str, Tensor]
    digest: str


def dense_cell(spec: RunSpec) -> RunSpec:
    """Return the from-scratch cell whose trained network a post-training cell starts from."""
    return RunSpec(
        workload=spec.workload,
        settings=spec.settings.of_track("from-scratch"),
        method="dense",
        granularity="none",
        density=1.0,
        seed=spec.seed,
        threads=spec.threads,
        device=spec.device,
    )


def checkpoint_path(folder: Path, spec: RunSpec) -> Path:
    """Where the checkpoint of a post-training cell lies, or would lie."""
    return folder / spec.workload / f"{dense_cell(spec).run_id}.safetensors"


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of the names."""
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        here = tensor.detach().cpu().contiguous()
        total.update(f"{name}\0{here.dtype}\0{tuple(here.shape)}\0".encode())
        total.update(here.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def write_checkpoint(path: Path, state: Mapping[str, Tensor], run_id: str, code: str) -> Checkpoint:
    """Write a dense network; a reader sees the old file or the new one, never a part.

    Raises
    ------
    BenchError
        If the disk does not take it.
    """
    here = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    made = Checkpoint(here, state_digest(here))
    metadata = {"run_id": run_id, "code_digest": code, "sha256": made.digest}
    with atomic_file(path) as file:
        file.write(save(here, metadata))
    return made


def read_checkpoint(path: Path, run_id: str, code: str) -> Checkpoint | None:
    """Read a dense network; None unless the file is whole and this code made it for this cell."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    found = Checkpoint(state, state_digest(state))
    wanted = {"run_id": run_id, "code_digest": code, "sha256": found.digest}
    return found if metadata == wanted else None


def stored_digest(path: Path) -> str | None:
    """The hash that a checkpoint says it has, its weights unread; None if it cannot be read."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
