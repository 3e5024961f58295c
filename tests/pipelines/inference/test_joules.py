"""Counters of RAPL as files: packages are added up, and a counter may return to zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.errors import BenchError
from pipelines.inference.joules import PackageMeter


def counter(root: Path, folder: str, name: str, microjoules: int) -> Path:
    """Write a counter whose range is 10 J; return the file that changes."""
    (root / folder).mkdir()
    (root / folder / "name").write_text(f"{name}\n")
    (root / folder / "max_energy_range_uj").write_text("10000000\n")
    file = root / folder / "energy_uj"
    file.write_text(f"{microjoules}\n")
    return file


def test_packages_are_added_up_and_counters_return_to_zero(tmp_path: Path) -> None:
    one = counter(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    two = counter(tmp_path, "intel-rapl:1", "package-1", 0)
    inside = counter(tmp_path, "intel-rapl:0:0", "core", 0)
    board = counter(tmp_path, "intel-rapl:2", "psys", 0)
    meter = PackageMeter(tmp_path)
    for file in (two, inside, board):
        file.write_text("3000000")
    assert meter.joules() == 3
    one.write_text("500000")  # from 9 J to the range of 10 J, and 0.5 J more
    assert meter.joules() == 1.5
    assert meter.joules() == 0


def test_a_machine_without_counters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="shows no RAPL counters of packages in"):
        PackageMeter(tmp_path)
    counter(tmp_path, "intel-rapl:0", "package-0", 0).unlink()
    with pytest.raises(BenchError, match="energy_uj cannot be read"):
        PackageMeter(tmp_path)
