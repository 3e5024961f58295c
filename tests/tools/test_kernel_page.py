"""The table of the kernels' README: what the race measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.errors import BenchError
from pipelines.networks.plans.fused_cpu import KERNELS
from tools.kernel_page import DATA, PAGE, gains, to_markdown, write
from tools.speed_page import BEGIN, END


def machine(processor: str, **seconds: float) -> dict[str, Any]:
    """A race in which a run with all kernels takes a second."""
    race = {f"without {name}": {"ratio": [0.9 / t, 1 / t, 1.1 / t]} for name, t in seconds.items()}
    entry = {"reference": "all kernels", "rounds": 10, "race": race | {"all kernels": {}}}
    about = {"processor": processor, "device": "cpu", "torch": "2"}
    return {"date": "2026-01-02", "machine": about, "groups": {"dense": [entry]}}


def test_a_kernel_is_worth_what_a_run_loses_without_it(tmp_path: Path) -> None:
    page, data = tmp_path / "README.md", tmp_path / "kernels.json"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    write(machine("A", winograd=1.25, pooling=1.0, linear=2.0), data, page)
    text = page.read_text()
    assert "stale" not in text
    assert "A, 2026-01-02, torch 2:\n\n| kernel | dense (10 turns) | |\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [
        "| `linear` | 100% (82% to 122%) |  |",
        "| `winograd` | 25% (14% to 39%) |  |",
        "| `pooling` | 0% (-9% to 11%) | under 10% |",
    ], "the best first"
    write(machine("B", linear=1.5), data, page)
    write(machine("B", linear=3.0), data, page)
    kept = json.loads(data.read_text())["machines"]
    assert [gains(one)["linear"]["dense"][1] for one in kept] == [2.0, 1.0], "one entry a processor"


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("nothing to fill\n")
    with pytest.raises(BenchError, match="no lines"):
        write(machine("A", linear=2.0), tmp_path / "kernels.json", page)
    assert page.read_text() == "nothing to fill\n"


def test_the_published_table_is_that_of_its_data() -> None:
    """Nobody typed a figure, and no kernel is missing."""
    kept = json.loads(DATA.read_text())["machines"]
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == f"\n\n{to_markdown(kept)}"
    for one in kept:
        assert gains(one).keys() >= KERNELS
        assert set(one["groups"]) == {"dense", "density 0.1", "step of 6Conv2FC"}
