"""The measures of the DPAP paper, each beside a direct measurement (arXiv 2211.12714).

*Energy* is equation (15) of the paper: the share of kept weights times the share of kept time
steps. It measures no spike, and counts a convolution's weight like a linear layer's. The SynOps are
measured.

*Convergence speed* is the number of epochs until a network reaches the best accuracy that the dense
network ever has. The dense network reaches its own maximum late because its curve is noisy, so the
measure favours the other network; and some seeds never reach that maximum. The table therefore also
has the time to a fixed target, for all seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.metrics.numbers import MISSING, decimal, percent, target
from pipelines.metrics.table import METRICS
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import GRANULARITIES, REFERENCE, Row
from pipelines.report.analysis.time_to_target import first_epoch
from pipelines.report.formats.table import Column, Table

#: The dense network's mean final validation accuracy minus the fixed target.
MARGIN = 0.02
TRACK = "from-scratch"


@dataclass(frozen=True)
class PaperRow:
    """A method at one granularity and target, beside the dense network.

    Parameters
    ----------
    row
        Its row.
    energy
        Equation (15), as a share of the dense network's.
    synops
        As a share of the dense network's.
    reached
        Epoch at which each run reaches the dense network's best accuracy; of those that do.
    compared
        Number of runs that were compared with a dense one of the same seed.
    seconds_to_target
        Mean over the seeds; None unless all reach the target, on one machine.
    """

    row: Row
    energy: float | None
    synops: float | None
    reached: tuple[int, ...]
    compared: int
    seconds_to_target: float | None

    @property
    def is_reference(self) -> bool:
        """Whether this is the unpruned network."""
        return self.row.is_reference

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.row.method


def seconds_until(record: RunRecord, accuracy: float) -> float | None:
    """Training time until this validation accuracy; None if it is never reached."""
    epoch = first_epoch(record, accuracy)
    return None if epoch is None else record.curve[epoch - 1].seconds


def _reached(row: PaperRow) -> str:
    mean = f"{fmean(row.reached):.1f}" if row.reached else MISSING
    return f"{mean} ({len(row.reached)} of {row.compared})"


_TIMESTEP_SPARSITY = METRICS["timestep_sparsity"]


def _weight_sparsity(row: PaperRow) -> float | None:
    density = row.row.means["density"]
    return None if density is None else 1 - density


COLUMNS: tuple[Column[PaperRow], ...] = (
    Column("method", "Name in dpap-bench list.", lambda r: r.method, lambda r: r.method),
    Column(
        "granularity", "What is removed.", lambda r: r.row.granularity, lambda r: r.row.granularity
    ),
    Column("target", "Requested density.", lambda r: target(r.row.target), lambda r: r.row.target),
    Column(
        "weight sparsity %",
        "Pruned / prunable weights.",
        lambda r: percent(_weight_sparsity(r), 1),
        _weight_sparsity,
    ),
    Column(
        _TIMESTEP_SPARSITY.title,
        _TIMESTEP_SPARSITY.help,
        lambda r: _TIMESTEP_SPARSITY.format(r.row.means[_TIMESTEP_SPARSITY.name]),
        lambda r: r.row.means[_TIMESTEP_SPARSITY.name],
    ),
    Column(
        "energy (15) %",
        "The paper's formula: share of kept weights times share of kept time steps. Nothing is "
        "measured.",
        lambda r: percent(r.energy, 1),
        lambda r: r.energy,
    ),
    Column(
        "SynOps % of dense",
        "What the formula stands for, measured: spikes times existing fan-out.",
        lambda r: percent(r.synops, 1),
        lambda r: r.synops,
    ),
    Column(
        "epochs to dense best",
        "The paper's convergence speed: epochs until the dense network's best validation accuracy "
        "is reached, mean over the seeds that reach it; in brackets how many do, of those that "
        "were compared.",
        _reached,
        lambda r: fmean(r.reached) if r.reached else None,
    ),
    Column(
        "seconds to target",
        f"Training time until the validation accuracy is {100 * MARGIN:g} points below the dense "
        "network's mean final validation accuracy; shown only if all seeds reach it.",
        lambda r: decimal(r.seconds_to_target, 2),
        lambda r: r.seconds_to_target,
    ),
)


def paper_tables(rows: Sequence[Row], records: Sequence[RunRecord]) -> list[Table]:
    """Make one table per workload that DPAP ran on, from scratch as in the paper."""
    rows = [row for row in rows if row.track == TRACK]
    records = [
        r for r in records if r.spec.track == TRACK and not r.spec.control and r.status == "ok"
    ]
    by_row: dict[tuple[str, str, str, float | str], list[RunRecord]] = defaultdict(list)
    for record in records:
        spec = record.spec
        if not spec.matched_to:
            by_row[spec.workload, spec.name, spec.granularity, spec.density].append(record)
    tables = []
    for workload in dict.fromkeys(row.workload for row in rows):
        own = [
            r
            for r in rows
            if r.workload == workload
            and r.synops_target is None
            and not str(r.target).startswith("as ")
        ]
        dense = [r for r in records if (r.spec.workload, r.spec.method) == (workload, REFERENCE)]
        family = [r for r in own if r.method.startswith("dpap")]
        if not dense or not family:
            continue
        chosen = [r for r in own if r.is_reference] + sorted(
            family, key=lambda r: (r.method, GRANULARITIES.index(r.granularity))
        )
        lines = tuple(
            _paper_row(row, by_row[workload, row.method, row.granularity, row.target], dense)
            for row in chosen
        )
        tables.append(Table(workload, TRACK, "measures of the DPAP paper", lines, COLUMNS, NOTE))
    return tables


NOTE = (
    "Measures as the paper defines them, beside direct measurements: formula (15) measures no "
    "spike, and the epochs to the dense network's best depend on the maximum of a noisy curve."
)


def _paper_row(row: Row, records: Sequence[RunRecord], dense: Sequence[RunRecord]) -> PaperRow:
    best = {r.spec.seed: max(p.validation_accuracy for p in r.curve) for r in dense if r.curve}
    ends = [r.curve[-1].validation_accuracy for r in dense if r.curve]
    goal = fmean(ends) - MARGIN if ends else 1.0
    reached = [first_epoch(r, best[r.spec.seed]) for r in records if r.spec.seed in best]
    seconds = [seconds_until(r, goal) for r in records]
    density, synops = row.means["density"], row.means["synops"]
    kept = 1 - (row.means["timestep_sparsity"] or 0.0)
    spikes = [r.outcome.cost.synops for r in dense if r.outcome]
    timed = row.means["train_seconds"] is not None and None not in seconds
    return PaperRow(
        row=row,
        energy=None if density is None else density * kept,
        synops=synops / fmean(spikes) if synops and spikes else None,
        reached=tuple(epoch for epoch in reached if epoch is not None),
        compared=len(reached),
        seconds_to_target=fmean([s for s in seconds if s is not None])
        if timed and seconds
        else None,
    )
