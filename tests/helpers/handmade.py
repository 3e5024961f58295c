"""Handmade records, and a board of them, to test tables, figures and the page without training."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from pipelines.boards.board import fits
from pipelines.boards.params import Params, Part
from pipelines.methods.catalogue import info
from pipelines.records.digest import code_digest
from pipelines.records.outcome import Cost, EpochPoint, LayerCost, Outcome
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.report.analysis.literature import literature
from pipelines.report.analysis.published_results import load_published
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.page.page import render
from pipelines.report.page.sections import make_sections
from pipelines.report.tables.density import make_tables
from pipelines.report.tables.paper import paper_tables
from pipelines.settings.network import Execution
from pipelines.settings.spec import RunSpec
from pipelines.training.environment import environment
from tests.helpers.paths import ROOT

PUBLISHED = ROOT / "results" / "published.yaml"


def record(
    params: Params,
    method: str,
    seed: int,
    accuracy: float,
    density: float | str = 0.5,
    status: str = "ok",
    workload: str = "digits-snn",
    granularity: str | None = None,
) -> RunRecord:
    """A record with a test accuracy, a density and a status; all other figures are fixed."""
    spec = params.spec(workload, method, granularity, 1.0 if method == "dense" else density, seed)
    cost = Cost(
        density=spec.target or 0.4,
        prunable=100,
        parameters=60,
        macs=1000,
        effective_macs=10.0,
        synops=200.0,
        energy_nanojoule=0.2,
        latency_milliseconds={1: 0.5, 128: 5.0},
        masked_latency_milliseconds={1: 0.6, 128: 6.0},
        layers={},
    )
    point = EpochPoint(
        samples=10,
        train_loss=1.0,
        validation_accuracy=0.9,
        validation_loss=0.5,
        density=0.7,
        firing_rate=0.1,
        learning_rate=0.001,
        seconds=1.5,
    )
    outcome = Outcome(
        test_accuracy=accuracy,
        test_loss=0.1,
        validation_accuracy=0.9,
        layout="x",
        cost=cost,
        confusion=[[9, 1], [0, 10]],
    )
    return RunRecord(
        run_id=spec.run_id,
        spec=spec,
        status=status,
        outcome=None if status in ("diverged", "failed") else outcome,
        curve=[point, point],
        budget=100,
        spent={"training": 100},
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
        train_seconds=2.0,
        total_seconds=3.0,
        environment=environment(1, Execution()),
        code_digest="a" * 64,
        code_digest_end="a" * 64,
    )


def of_spec(params: Params, spec: RunSpec, accuracy: float = 0.9, status: str = "ok") -> RunRecord:
    """A valid record of any run: its code digest is the current one."""
    where = {"workload": spec.workload, "granularity": spec.granularity, "status": status}
    density = 0.5 if spec.synops else spec.density  # of a record whose spec is replaced below
    made = record(params, spec.name, spec.seed, accuracy, density, **where)
    digest = code_digest(spec)
    changes = {"spec": spec, "run_id": spec.run_id, "code_digest": digest}
    parent = made.trajectory.digest if spec.control else ""
    return replace(made, **changes, code_digest_end=digest, parent=parent)


def fill(params: Params, board: str, store: Store) -> int:
    """Write a valid record of every run of a board; return their number."""
    parts: tuple[Part, ...] = ("cells", "matched", "controls")
    specs = []
    for part in parts:  # a part needs the records of the parts before it
        specs += (found := params.part(part, board, store))
        for spec in found:
            store.write(of_spec(params, spec))
    return len(specs)


def unstructured(params: Params, method: str, seed: int, *more: Any, **fields: Any) -> RunRecord:
    """A record as `record` makes it, pruned without structure; a dense one is not pruned."""
    kind = "none" if method == "dense" else "unstructured"
    return record(params, method, seed, *more, granularity=kind, **fields)


def control(one: RunRecord, kind: str, accuracy: float, status: str = "ok") -> RunRecord:
    """The record of a control, ``shuffled`` or ``reinit``, with this test accuracy."""
    spec = replace(one.spec, control=kind)
    assert one.outcome is not None
    outcome = replace(one.outcome, test_accuracy=accuracy)
    changes = {"spec": spec, "run_id": spec.run_id, "outcome": outcome, "status": status}
    return replace(one, **changes, parent=one.trajectory.digest)


def layered(one: RunRecord, density: float) -> RunRecord:
    """The same record with costs of layers that fall with the density, and other times.

    The training time is shortest at density 0.2, and rises on both sides.
    """
    assert one.outcome is not None
    layers = {
        name: LayerCost(
            density=share,
            dense_operations=100,
            effective_macs=10.0,
            effective_acs=0.0,
            firing_rate=rate,
        )
        for name, share, rate in (
            ("conv1", min(1.0, 2 * density), 0.2 * density**0.5),
            ("fc1", density / 2 if density < 1 else 1.0, 0.1 * density**0.5),
            ("readout", 1.0, None),
        )
    }
    costs = {
        "layers": layers,
        "density": density,
        "macs": round(200_000 * density),
        "synops": 20_000 * density**0.8 if one.spec.settings.network.kind == "snn" else 0.0,
        "energy_nanojoule": 100 * density**0.7,
    }
    cost = replace(one.outcome.cost, **costs)
    outcome = replace(one.outcome, cost=cost)
    return replace(one, outcome=outcome, train_seconds=2 + abs(density - 0.2))


def board(params: Params, methods: Sequence[str], seeds: int = 5) -> list[RunRecord]:
    """Records of all granularities of some methods on both digits workloads, at four densities.

    Accuracies fall with the density, by another amount for each method and seed.
    """
    made = []
    for workload in ("digits-snn", "digits-ann"):
        for seed in range(seeds):
            dense = record(params, "dense", seed, 0.98 + seed / 2000, workload=workload)
            made.append(layered(dense, 1.0))
            for number, name in enumerate(methods):
                for granularity in info(name).granularities:
                    if not fits(info(name), params.workloads[workload], granularity):
                        continue
                    for density in (0.5, 0.25, 0.1, 0.05):
                        loss = 0.004 * (1 + number % 5) / density**0.6
                        accuracy = 0.98 - loss - seed * (number + 1) % 4 / 500
                        run = record(
                            params,
                            name,
                            seed,
                            accuracy,
                            density,
                            workload=workload,
                            granularity=granularity,
                        )
                        made.append(layered(run, density))
    return made


def whole_page(params: Params, records: Sequence[RunRecord]) -> str:
    """The HTML page of these records, with all sections of a report."""
    analysis = analyse(make_rows(records))
    rows = analysis.rows
    tables = [*make_tables(rows, analysis.standings), *paper_tables(rows, records)]
    beside = literature(load_published(PUBLISHED), params, "embedded", rows)
    sections = make_sections("handmade", analysis, beside)
    shown = {section.anchor for section in sections}
    assert {"synops", "areas", "time", "costs", "published"} <= shown
    return render("handmade", rows, tables, records, sections)
