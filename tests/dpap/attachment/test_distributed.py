"""Data-parallel training by two processes on one machine: both have the same masks."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import multiprocessing, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from dpap import attach

LIMIT = 300.0  # s; the processes are ended then, on however slow a machine
RUNS = (("dpap", "structured"), ("rigl", "unstructured"), ("snip", "unstructured"))
RUNS += (("deep_r", "unstructured"),)


def train(rank: int, folder: str) -> None:
    """Train with each method on samples of this process alone, and save what is left."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=LIMIT),
    )
    for method, granularity in RUNS:
        torch.save(trained(rank, method, granularity), f"{folder}/{method}{rank}.pt")
    torch.distributed.destroy_process_group()


def trained(rank: int, method: str, granularity: str) -> dict[str, object]:
    """Train one network, whose first weights differ between the processes until it is wrapped."""
    torch.manual_seed(rank)
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
    return found | {"density": handle.density}


@pytest.mark.slow
def test_both_processes_have_the_same_masks(tmp_path: Path) -> None:
    processes = multiprocessing.spawn(train, (str(tmp_path),), nprocs=2, join=False)
    end = time.monotonic() + LIMIT
    while not processes.join(timeout=1.0):
        if time.monotonic() > end:
            for process in processes.processes:
                process.kill()
            pytest.fail("the processes wait for each other")
    for method, _ in RUNS:
        one, two = (torch.load(tmp_path / f"{method}{rank}.pt") for rank in range(2))
        assert one["density"] == two["density"] == pytest.approx(0.4, abs=0.06)
        for kind in ("masks", "weights"):
            assert one[kind].keys() == two[kind].keys()
            for name, value in one[kind].items():
                assert torch.equal(value, two[kind][name]), (method, name)
        for name, mask in one["masks"].items():
            assert not one["weights"][name][~mask].any()
