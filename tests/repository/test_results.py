"""The records in git: complete, sealed, without fault, and at the path of their cell."""

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
from pipelines.records.files import read_record
from pipelines.records.store import Store, board_store
from tests.helpers.paths import ROOT

RESULTS = ROOT / "results"
TUNING = RESULTS / "tuning"
PUBLISHED = RESULTS / "published.yaml"


def in_git() -> list[Path]:
    """Return the records that git tracks; records computed on this machine are not among them."""
    command = ["git", "ls-files", "-z", "--", "results/*.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is no clone")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def sealed_folders() -> list[Path]:
    return sorted(path.parent for path in RESULTS.rglob(SEAL))


def test_no_record_is_edited_removed_or_added() -> None:
    """To seal after tuning: dpap-bench verify results/tuning --any-code --no-rerun --seal."""
    assert TUNING in sealed_folders(), "results/tuning is not sealed"
    faults = [
        f"{path.relative_to(ROOT)} {sentence}"
        for folder in sealed_folders()
        for path, sentence in record_faults(folder, any_code=True)
    ]
    assert not faults, "\n".join(faults)


def test_every_record_in_git_exists_and_is_sealed() -> None:
    """To seal a new folder: dpap-bench verify FOLDER --no-rerun --seal."""
    sealed = sealed_folders()
    records = in_git()
    assert len(records) > 100
    for path in records:
        assert path.is_file(), f"{path.relative_to(ROOT)} is in git, but missing here"
        over = [folder for folder in sealed if folder in path.parents]
        assert over, f"{path.relative_to(ROOT)} is in no folder with a {SEAL}"


def test_a_record_is_at_the_path_of_its_cell() -> None:
    """Trials are in results/tuning, runs of a board in results/boards/BOARD."""
    for path in in_git():
        top, board, *_ = path.relative_to(RESULTS).parts
        assert top in {"boards", "tuning"}, f"{path} is in no folder of records"
        store = Store(TUNING) if top == "tuning" else board_store(ROOT, board)
        record = read_record(path)
        assert store.path(record.spec) == path
        assert record.spec.tuning == (top == "tuning"), f"{path} is in the wrong folder"


def test_trials_use_neither_the_seeds_of_boards_nor_the_test_split(params: Params) -> None:
    seeds = {seed for board in params.boards.values() for seed in board.seeds}
    files = sorted(TUNING.rglob("*.json"))
    assert len(files) > 100
    for path in files:
        record = read_record(path)
        assert record.spec.seed not in seeds, f"{path.name} has a seed of a board"
        assert record.outcome is None or record.outcome.test_accuracy is None, path.name


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each innermost field."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    else:
        yield name, value


@pytest.mark.skipif(not PUBLISHED.exists(), reason="there is no results/published.yaml")
def test_published_results_are_complete() -> None:
    """Each published result names its method, source and data set; shares are in percent."""
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
