"""What inference of the final networks of runs costs on this machine.

Measurements depend on the machine, so no record has them. They are written beside the proxies of
the records: SynOps, operations, and energy by operations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from pipelines.audit.comparison import differences
from pipelines.common.errors import BenchError, InputError
from pipelines.data import load_training
from pipelines.data.events import binning_of
from pipelines.export.network_file import load_network, write_network
from pipelines.export.rerun import rerun
from pipelines.inference.event_driven import EventDriven, refusal
from pipelines.inference.joules import PackageMeter
from pipelines.inference.race import Call, Turns, race
from pipelines.networks.network import Network
from pipelines.records.digest import code_digest
from pipelines.records.record import RunRecord
from pipelines.training.environment import processor
from pipelines.training.machine import keep_freed_memory

#: Samples of a large batch, as in evaluations; and samples that are computed alone.
BATCH, SINGLE = 512, 16


@dataclass(frozen=True)
class Measured:
    """The cost of inference of one network.

    Parameters
    ----------
    record
        The record of its run, with the proxies.
    one, batch
        A batch of one sample, and of `Measurement.batch` samples, by the plan of the run.
    events
        One sample by `EventDriven`; None for networks that it refuses.
    """

    record: RunRecord
    one: Turns
    batch: Turns
    events: Turns | None


@dataclass(frozen=True)
class Measurement:
    """The networks of a workload, measured in turns.

    Parameters
    ----------
    workload
        Name of the workload.
    rows
        The networks; the unpruned one first.
    batch
        Samples of the large batch.
    rounds
        Turns of each contender.
    date, processor, torch
        When and where.
    load
        Average number of processes that wanted a core, over the minute before and after.
    no_joules
        Why joules were not measured; empty if they were.
    no_events
        Why some network was not computed by events; empty if all were.
    """

    workload: str
    rows: tuple[Measured, ...]
    batch: int
    rounds: int
    date: str
    processor: str
    torch: str
    load: tuple[float, float]
    no_joules: str
    no_events: str


def by_workload(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Sort records with an outcome by workload, the run of the unpruned network first.

    Raises
    ------
    InputError
        If a workload has no run of the unpruned network: ratios are those over its time.
    """
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.outcome is not None:
            found.setdefault(record.spec.workload, []).append(record)
    for workload, group in found.items():
        group.sort(key=lambda record: record.spec.method != "dense")
        if group[0].spec.method != "dense":
            raise InputError(
                f"no run of the unpruned network of '{workload}' is among the runs to measure; add "
                "one of method 'dense': ratios are those over its time."
            )
    return found


def final_network(root: Path, record: RunRecord) -> Network:
    """Return the network that a run ended with; the run is repeated once and its network kept.

    Raises
    ------
    BenchError
        If the second run fails, or differs from the record.
    """
    name = f"{record.run_id}-{code_digest(record.spec)[:16]}.safetensors"
    path = root / "results" / "measured" / "networks" / name
    if not path.exists():
        again, network = rerun(root, record)
        if found := differences(record, again):
            raise BenchError(f"nothing is measured: the record of {record.run_id} {found[0]}")
        write_network(path, network, {"run_id": record.run_id, "label": record.spec.label()})
    return load_network(path)


def measure(
    root: Path,
    records: Sequence[RunRecord],
    rounds: int,
    meter: Callable[[], PackageMeter] = PackageMeter,
    on_network: Callable[[RunRecord], None] = lambda _: None,
) -> Measurement:
    """Measure the final networks of runs of one workload on this CPU, on one thread, in turns.

    Parameters
    ----------
    root
        The project's folder.
    records
        Runs of one workload, as `by_workload` returns them.
    rounds
        Turns of each contender.
    meter
        Makes the meter of joules.
    on_network
        Called before the network of a run is needed, which may take as long as the run.

    Raises
    ------
    BenchError
        If a second run fails, or differs from its record.
    """
    networks = []
    for record in records:
        on_network(record)
        networks.append(final_network(root, record))
    threads, before = torch.get_num_threads(), os.getloadavg()[0]
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        counter, no_joules = _meter(meter)
        batch = _samples(root, records[0])
        contenders: dict[str, Call] = {}
        for i, network in enumerate(networks):
            contenders |= _calls(i, network, batch)
        found = race(contenders, rounds, counter)
    finally:
        torch.set_num_threads(threads)
    return Measurement(
        workload=records[0].spec.workload,
        rows=tuple(
            Measured(record, found[f"{i} one"], found[f"{i} batch"], found.get(f"{i} events"))
            for i, record in enumerate(records)
        ),
        batch=batch.shape[batch.dim() - 4],
        rounds=rounds,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        processor=processor(),
        torch=torch.__version__,
        load=(before, os.getloadavg()[0]),
        no_joules=no_joules,
        no_events=next(filter(None, map(refusal, networks)), ""),
    )


def _meter(make: Callable[[], PackageMeter]) -> tuple[PackageMeter | None, str]:
    try:
        return make(), ""
    except BenchError as error:
        return None, str(error)


def _samples(root: Path, record: RunRecord) -> Tensor:
    """Return the first samples of the validation split; the test split is for the accuracy."""
    asked = record.spec.settings
    data = load_training(
        asked.data, root / "data", binning_of(asked), asked.normalization, asked.recipe.augmentation
    )
    return data.validation.batch(slice(BATCH))[0].float()


def _calls(number: int, network: Network, batch: Tensor) -> dict[str, Call]:
    """Return the contenders of a network; those of one sample compute the first `SINGLE` ones."""
    dim = batch.dim() - 4  # of the samples: frames begin with the time steps
    alone = batch.narrow(dim, 0, min(SINGLE, batch.shape[dim]))
    ones = [one.contiguous() for one in alone.split(1, dim)]
    samples = [one.squeeze(dim) for one in ones]

    @torch.no_grad()
    def by_plan(*batches: Tensor) -> None:
        for x in batches:
            network(x)

    found = {
        f"{number} one": Call(partial(by_plan, *ones), len(ones)),
        f"{number} batch": Call(partial(by_plan, batch), batch.shape[dim]),
    }
    if refusal(network) is None:
        found[f"{number} events"] = Call(
            partial(_each, EventDriven(network), samples), len(samples)
        )
    return found


def _each(function: Callable[[Tensor], object], samples: Sequence[Tensor]) -> None:
    for sample in samples:
        function(sample)
