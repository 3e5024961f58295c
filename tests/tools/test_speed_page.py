"""The speed page: what the races measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.errors import BenchError
from tests.helpers.paths import ROOT
from tools.speed_page import BEGIN, END, read, to_markdown, with_machine, write


def race(reference: str, **times: float) -> dict[str, Any]:
    base = times[reference.replace(" ", "_")]
    entries = {
        name.replace("_", " "): {
            "milliseconds": [t, t, t],
            "ratio": [base / t, base / t, base / t],
            "share": t / base,
        }
        for name, t in times.items()
    }
    return {"reference": reference, "rounds": 3, "race": entries}


def benchmarks(tmp_path: Path) -> Path:
    stats = {"median": 0.25}
    document = {
        "datetime": "2026-01-02T03:04:05+00:00",
        "benchmarks": [
            {
                "group": "step",
                "name": "a",
                "stats": stats,
                "extra_info": race("slow", slow=8, fast=2),
            },
            *(
                {"group": "bookkeeping", "name": n, "stats": stats, "extra_info": extra}
                for n, extra in (
                    ("b", race("training step", training_step=100, dpap=3)),
                    ("c", race("training step", training_step=100, random=1)),
                )
            ),
            {"group": "10 records", "name": "test_scan_all", "stats": stats, "extra_info": {}},
            {"group": "accuracy", "name": "d", "stats": stats, "extra_info": {"dense": 98.5}},
        ],
    }
    path = tmp_path / "benchmarks.json"
    path.write_text(json.dumps(document))
    return path


def test_tables_and_their_data(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    write(read(benchmarks(tmp_path)), tmp_path)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "stale" not in text
    assert "2026-01-02" in text
    assert "| fast | 2.0 | 4.00 (4.00 to 4.00) |\n| slow | 8.0 | 1.00" in text, "the fastest first"
    assert "| dpap | 3.00 | 3.0% | 3.0% |\n| random | 1.00 | 1.0% | 1.0% |" in text
    assert "| scan all, seconds | 0.25 |" in text
    assert "| d: dense | 98.5 |" in text
    kept = json.loads((tmp_path / "performance.json").read_text())
    (machine,) = kept["machines"]
    assert list(machine["groups"]) == sorted(machine["groups"])
    write(read(benchmarks(tmp_path)), tmp_path)
    assert page.read_text() == text


def test_a_race_that_was_run_again_counts_once(tmp_path: Path) -> None:
    whole, again = benchmarks(tmp_path), tmp_path / "again.json"
    document = json.loads(whole.read_text())
    document["benchmarks"] = [
        one | {"stats": {"median": 0.125}}
        for one in document["benchmarks"]
        if one["group"] == "10 records"
    ]
    again.write_text(json.dumps(document))
    both = read(whole, again)
    assert both["groups"].keys() == read(whole)["groups"].keys()
    assert both["groups"]["10 records"] == [{"name": "test_scan_all", "seconds": 0.125}]


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("nothing to fill\n")
    with pytest.raises(BenchError, match="no lines"):
        write(read(benchmarks(tmp_path)), tmp_path)
    assert page.read_text() == "nothing to fill\n"


def test_the_published_page_is_that_of_its_data() -> None:
    """Nobody typed a figure into the tables."""
    text = (ROOT / "docs" / "performance.md").read_text()
    shown = text.partition(BEGIN)[2].partition(END)[0]
    kept = json.loads((ROOT / "docs" / "performance.json").read_text())
    assert shown == f"\n\n{to_markdown(kept['machines'])}"


def summary(processor: str, **times: float) -> dict[str, Any]:
    machine = {"platform": "x", "python": "3", "torch": "2", "snntorch": "1"}
    return {
        "date": "2026-01-02",
        "machine": machine | {"processor": processor},
        "groups": {"training step, fashion": [{"name": "s"} | race("folded", **times)]},
    }


def test_machines_stand_side_by_side() -> None:
    old, other, new = summary("A", folded=9), summary("B", folded=8), summary("A", folded=6)
    assert with_machine([other, old], new) == [new, other], "a processor has one place"
    step, floor = "snnTorch, step by step", "convolutions and linear layers alone"
    for machine, times in ((new, (6, 12, 5)), (other, (8, 12, 4))):
        entries = dict(zip(("fused", step, floor), times, strict=True))
        (entry,) = machine["groups"]["training step, fashion"]
        entry["race"] |= {
            n: {"ratio": [1, 60 / t, 1], "milliseconds": [t] * 3} for n, t in entries.items()
        }
    text = to_markdown([new, other])
    assert "| | A | B |" in text
    assert "| `fused`: times as fast as stepping | 2.00 | 1.50 |" in text
    assert "linear layers alone | 1.20 | 2.00 |" in text
    assert "| report of 10,000 records, seconds | - | - |" in text, "not measured"
    new["groups"]["10,000 records"] = [{"name": "test_store_scan", "seconds": 1.5}]
    text = to_markdown([new, other])
    assert "| report of 10,000 records, seconds | - | - |" in text, "only its neighbour was"
    assert "| store scan of 10,000 records, seconds | 1.50 | - |" in text
    assert text.index("### A") < text.index("### B")


def test_a_gpu_has_a_table_and_a_place_of_its_own(tmp_path: Path) -> None:
    here, gpu = summary("A", folded=9), summary("A", folded=8)
    gpu["machine"]["device"] = "a GPU"
    assert with_machine([here], gpu) == [here, gpu], "another machine, though of one processor"
    (tmp_path / "performance.md").write_text(f"{BEGIN}\n{END}\n")
    (tmp_path / "performance.json").write_text(json.dumps({"machines": [here]}))
    measured = tmp_path / "gpu.json"
    measured.write_text(json.dumps(gpu))
    write(read(measured), tmp_path)
    text = (tmp_path / "performance.md").read_text()
    first, second = text.index("| | A |"), text.index("| | a GPU |")
    assert first < second < text.index("### A\n") < text.index("### a GPU\n")
    assert "| report of 10,000 records, seconds | - |" in text[first:second]
    assert "records" not in text[second : text.index("### A\n")]
