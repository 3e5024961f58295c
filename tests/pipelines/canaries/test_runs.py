"""Runs of a few canaries: equal outcomes, controls, and the files that they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.canaries.cells import all_canaries
from pipelines.canaries.runs import compute, files_run, unreached
from pipelines.records.lineage import Code


def test_a_canary_has_the_same_outcome_again_and_a_control_needs_no_parent_in_the_set(
    data_root: Path,
) -> None:
    names = ("magnitude unstructured", "magnitude unstructured shuffled")
    both = [one for one in all_canaries() if one.name in names]
    first = {one.name: result for one, result in compute(both, data_root, 1)}
    assert {result.status for result in first.values()} == {"ok"}
    assert set(first) == set(names)
    again = {one.name: result for one, result in compute(both[1:], data_root, 1)}
    assert again == {names[1]: first[names[1]]}
    assert first[names[0]].hashes != first[names[1]].hashes


@pytest.mark.slow
def test_the_files_of_which_a_canary_runs_a_function(data_root: Path) -> None:
    (one,) = (one for one in all_canaries() if one.name == "lamp structured")
    run = files_run([one], data_root)
    stored = "pipelines/records/stored_values.py"  # of a run that is interrupted
    assert {"baselines/lamp.py", "pipelines/training/trainer.py", stored} <= run
    assert "pipelines/data/colours.py" not in run
    assert "pipelines/boards/params.py" not in run


def test_files_without_functions_and_c_code_beside_a_run_module_are_reached() -> None:
    files = {
        "baselines/lamp.py": "1",
        "baselines/sca.py": "1",
        "pipelines/data/catalogue.py#digits": "1",
        "pipelines/settings/tolerance.py": "1",
        "pipelines/settings/rules.py": "1",
        "pipelines/kernels/cpu/moments.h": "1",
        "pipelines/kernels/gpu/x.c": "1",
    }
    run = {"baselines/lamp.py", "pipelines/data/catalogue.py", "pipelines/kernels/cpu/norm_scan.py"}
    assert unreached(Code(files=files, sections={}), run) == [
        "baselines/sca.py",
        "pipelines/kernels/gpu/x.c",
        "pipelines/settings/tolerance.py",
    ]
