"""Data-parallel training by two processes on one machine: both have the same masks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import multiprocessing, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from dpap import attach


def train(rank: int, folder: str, method: str, granularity: str) -> None:
    """Train on samples of this process alone, and save what is left."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 5)
    )
    draw = torch.Generator().manual_seed(rank)
    loader = [
        (torch.randn(16, 10, generator=draw), torch.randint(5, (16,), generator=draw))
        for _ in range(12)
    ]
    handle = attach(
        network,
        method,
        example=loader[0][0],
        readout="4",
        density=0.4,
        granularity=granularity,  # type: ignore[arg-type]
        saliency=loader,
        seed=rank,
    )
    parallel = DistributedDataParallel(network)
    optimizer = torch.optim.Adam(parallel.parameters(), 5e-3)
    for i, (x, y) in enumerate(loader, start=1):
        optimizer.zero_grad()
        functional.cross_entropy(parallel(x), y).backward()
        optimizer.step()
        handle.update(i / 12, optimizer)
    found = {"weights": network.state_dict(), "masks": handle.masks.parameters}
    torch.save(found | {"density": handle.density}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "granularity"),
    [("dpap", "structured"), ("rigl", "unstructured"), ("snip", "unstructured")],
)
def test_both_processes_have_the_same_masks(tmp_path: Path, method: str, granularity: str) -> None:
    multiprocessing.spawn(train, (str(tmp_path), method, granularity), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert one["density"] == two["density"] == pytest.approx(0.4, abs=0.06)
    for kind in ("masks", "weights"):
        assert one[kind].keys() == two[kind].keys()
        for name, value in one[kind].items():
            assert torch.equal(value, two[kind][name]), name
    for name, mask in one["masks"].items():
        assert not one["weights"][name][~mask].any()
