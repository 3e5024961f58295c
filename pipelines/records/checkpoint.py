"""Dense checkpoints: files of trained dense networks that post-training starts from.

All methods start from the same checkpoint of a workload and seed. Each record keeps its hash.
A file's metadata name the run and the code that made it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
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
    """A trained dense network.

    Parameters
    ----------
    state
        Name -> weights, batch norm statistics and beta, on the CPU.
    digest
        `state_digest` of the state.
    """

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
    """Return the path of the checkpoint of a post-training cell, whether it exists or not."""
    return folder / spec.workload / f"{dense_cell(spec).run_id}.safetensors"


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}\0{values.dtype}\0{tuple(values.shape)}\0".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_checkpoint(path: Path, state: Mapping[str, Tensor], run_id: str, code: str) -> Checkpoint:
    """Write a dense network, atomically: no reader sees half a file.

    Parameters
    ----------
    path
        The safetensors file.
    state
        State of the dense network.
    run_id
        Run id of the dense cell that trained it.
    code
        Digest of the code that trained it.

    Raises
    ------
    BenchError
        If the file cannot be written.
    """
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    checkpoint = Checkpoint(on_cpu, state_digest(on_cpu))
    metadata = {"run_id": run_id, "code_digest": code, "sha256": checkpoint.digest}
    with atomic_file(path) as file:
        file.write(save(on_cpu, metadata))
    return checkpoint


def read_checkpoint(path: Path, run_id: str, codes: Container[str]) -> Checkpoint | None:
    """Read a dense network, if it can be used.

    Parameters
    ----------
    path
        The safetensors file.
    run_id
        Run id of the dense cell that must have trained it.
    codes
        Digests of the code, one of which must have trained it.

    Returns
    -------
    Checkpoint or None
        None if the file does not exist or is damaged, or if another cell or other code made it.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    checkpoint = Checkpoint(state, state_digest(state))
    code = metadata.get("code_digest", "")
    expected = {"run_id": run_id, "code_digest": code, "sha256": checkpoint.digest}
    return checkpoint if metadata == expected and code in codes else None


def stored_digest(path: Path) -> str | None:
    """Return the digest that a checkpoint's metadata state; None if the file cannot be read.

    The weights are not read.
    """
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
