"""What is in git below results/: sealed, without fault, where it belongs, and all of it there."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.audit.faults import faults as record_faults
from pipelines.audit.seal import SEAL
from pipelines.boards.params import Params
from pipelines.records.record import read_record
from pipelines.records.store import Store
from tests.helpers.paths import ROOT

RESULTS = ROOT / "results"
TUNING = RESULTS / "tuning"
PUBLISHED = RESULTS / "published.yaml"


def in_git() -> list[Path]:
    """Records that git knows; what was computed here is not among them."""
    command = ["git", "ls-files", "-z", "--", "results/*.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is no clone")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def sealed_folders() -> list[Path]:
    return sorted(path.parent for path in RESULTS.rglob(SEAL))


def test_no_record_is_edited_removed_or_added() -> None:
    """After `dpap-bench tune`: dpap-bench verify results/tuning --any-code --no-rerun --seal."""
    assert TUNING in sealed_folders(), "results/tuning is not sealed"
    faults = [
        f"{path.relative_to(ROOT)} {sentence}"
        for folder in sealed_folders()
        for path, sentence in record_faults(folder, any_code=True)
    ]
    assert not faults, "\n".join(faults)


def test_every_record_in_git_is_there_and_under_a_seal() -> None:
    """Seal a folder that you add: dpap-bench verify FOLDER --no-rerun --seal."""
    sealed = sealed_folders()
    records = in_git()
    assert len(records) > 100
    for path in records:
        assert path.is_file(), f"{path.relative_to(ROOT)} is in git, but gone"
        over = [folder for folder in sealed if folder in path.parents]
        assert over, f"{path.relative_to(ROOT)} is in no folder with a {SEAL}"


def test_records_lie_where_a_store_puts_them() -> None:
    """Path below results/: FOLDER/WORKLOAD/METHOD/RUN_ID.json."""
    for path in in_git():
        top = path.relative_to(RESULTS).parts[0]
        assert top in {"records", "controls", "tuning"}, f"{path} is in no folder of records"
        home = "records" if top == "controls" else top
        record = read_record(path)
        assert Store(RESULTS / home).path(record.spec) == path
        assert record.spec.tuning == (top == "tuning"), f"{path} is in the wrong folder"


def test_no_trial_has_seen_a_board(params: Params) -> None:
    """Trials have seeds that no board has, and never opened the test split."""
    seeds = {seed for board in params.boards.values() for seed in board.seeds}
    files = sorted(TUNING.rglob("*.json"))
    assert len(files) > 100
    for path in files:
        record = read_record(path)
        assert record.spec.seed not in seeds, f"{path.name} has a seed of a board"
        assert record.outcome is None or record.outcome.test_accuracy is None, path.name


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Name of the innermost field, and what it holds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    else:
        yield name, value


@pytest.mark.skipif(not PUBLISHED.exists(), reason="nothing of the literature is in git")
def test_what_is_published_elsewhere_can_be_read() -> None:
    """Each result names its method and where it is printed; shares are in percent."""
    document = yaml.safe_load(PUBLISHED.read_text())
    results = document["results"] if isinstance(document, dict) else document
    assert results
    for result in results:
        assert result["method"], result
        assert result["source"], result
        assert result["dataset"], result
    for name, value in leaves(results):
        if isinstance(value, float):
            assert math.isfinite(value), name
        if isinstance(value, int | float) and ("accuracy" in name or name == "pruned_percent"):
            assert -100 <= value <= 100, f"{name} is {value}"
