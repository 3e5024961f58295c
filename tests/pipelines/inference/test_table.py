"""Tables and rank correlations of handmade measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError, InputError
from pipelines.inference.measurement import Measured, Measurement, by_workload
from pipelines.inference.race import Turns
from pipelines.inference.table import correlations, to_markdown, update_document, write_json
from pipelines.records.record import RunRecord
from tests.helpers.handmade import unstructured


def costing(record: RunRecord, synops: float) -> RunRecord:
    assert record.outcome is not None
    cost = replace(record.outcome.cost, synops=synops)
    return replace(record, outcome=replace(record.outcome, cost=cost))


@pytest.fixture
def measured(params: Params) -> Measurement:
    """Three networks: by events, time rises with SynOps; alone, it falls. There are joules."""
    records = [
        costing(unstructured(params, name, 0, 0.9), synops)
        for name, synops in (("dense", 4000), ("magnitude", 1000), ("lamp", 2000))
    ]
    rows = [
        Measured(
            record=record,
            one=Turns((one * 1e-6,) * 2, (0.002, 0.002)),
            batch=Turns((5e-6, 5e-6), (0.001, 0.001)),
            events=Turns((events * 1e-6,) * 2, (0.0001, 0.0001)),
        )
        for record, one, events in zip(records, (200, 250, 225), (400, 50, 100), strict=True)
    ]
    return Measurement(
        "digits-snn", tuple(rows), 512, 2, "2026-01-02", "a processor", "2.0", (0.5, 1.25), "", ""
    )


def test_correlations_are_those_of_ranks(measured: Measurement) -> None:
    found = correlations(measured)
    assert found["µs, by events"]["SynOps"] == 1
    assert found["µs, alone"]["SynOps"] == -1
    assert found["µs, of 512"]["SynOps"] is None, "all networks take the same time"
    assert found["µs, alone"]["dense operations"] is None, "all have the same operations"
    assert set(found) == {
        f"{u}, {w}" for u in ("µs", "mJ") for w in ("alone", "of 512", "by events")
    }


def test_tables_are_written_between_markers(measured: Measurement, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Before.\n<!-- measured: quick -->\nold\n<!-- end of measured: quick -->\nAfter."
    )
    update_document(page, "quick", [measured])
    lines = [" ".join(line.split()) for line in page.read_text().splitlines()]
    assert (lines[0], lines[-1]) == ("Before.", "After.")
    assert "load average 0.5 before and 1.2 after." in " ".join(lines)
    (pruned,) = (line for line in lines if line.startswith("| magnitude"))
    assert pruned.startswith("| magnitude, unstructured, 0.5 | 1,000 | 10 | 1,000 |")
    assert "250 (0.80x) | 2 | 5 (1.00x) | 1 | 50 (4.00x) | 0.1 |" in pruned
    with pytest.raises(BenchError, match="has no lines '<!-- measured: desk -->' and"):
        update_document(page, "desk", [measured])


def test_what_is_missing_is_said(measured: Measurement, tmp_path: Path) -> None:
    rows = tuple(
        Measured(row.record, Turns(row.one.seconds, ()), Turns(row.batch.seconds, ()), None)
        for row in measured.rows
    )
    less = Measurement(
        "digits-ann", rows, 512, 2, "2026-01-02", "p", "2", (0, 0), "no RAPL here", "it has ReLU."
    )
    text = to_markdown([less])
    assert "Joules were not measured: no RAPL here.\n" in text
    assert "Not every network was computed by events: it has ReLU.\n" in text
    assert "mJ" not in text
    assert "µs, by events" not in text
    write_json(tmp_path / "all.json", [measured])
    (document,) = json.loads((tmp_path / "all.json").read_text())
    assert document["rows"][1]["record"]["label"].startswith("digits-snn magnitude unstructured")
    assert document["rows"][1]["events"]["seconds"] == pytest.approx([50e-6, 50e-6])


def test_each_workload_needs_its_unpruned_network(params: Params) -> None:
    pruned, dense = (unstructured(params, name, 0, 0.9) for name in ("magnitude", "dense"))
    found = by_workload([pruned, replace(pruned, outcome=None), dense])
    assert found == {"digits-snn": [dense, pruned]}
    with pytest.raises(InputError, match="no run of the unpruned network of 'digits-snn'"):
        by_workload([pruned])
