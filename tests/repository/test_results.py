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
from pipelines.authoring.tuning import tuning_of
from pipelines.authoring.tuning_results import all_results
from pipelines.boards.params import Params
from pipelines.canaries.reference import FOLDER as CANARIES
from pipelines.canaries.reference import path_of, read_references
from pipelines.records.files import PROVENANCE, read_record
from pipelines.records.lineage import LINEAGE, read_accepted, read_lineage
from pipelines.records.store import Store, board_store
from tests.helpers.paths import ROOT

RESULTS = ROOT / "results"
TUNING = RESULTS / "tuning"
CONFIRMATION = TUNING / "confirmation"
PUBLISHED = RESULTS / "published.yaml"


def in_git() -> list[Path]:
    """Return the records that git tracks; records computed on this machine are not among them."""
    command = ["git", "ls-files", "-z", "--", "results/*.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is no clone")
    names = (name for name in done.stdout.split("\0") if name and name != LINEAGE)
    return [ROOT / name for name in names if not name.startswith(f"{CANARIES}/")]


def sealed_folders() -> list[Path]:
    return sorted(path.parent for path in RESULTS.rglob(SEAL))


def test_no_record_is_edited_removed_or_added() -> None:
    """`dpap-bench tune` seals its records; other folders: dpap-bench verify FOLDER --seal."""
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
    for path in records:
        assert path.is_file(), f"{path.relative_to(ROOT)} is in git, but missing here"
        over = [folder for folder in sealed if folder in path.parents]
        assert over, f"{path.relative_to(ROOT)} is in no folder with a {SEAL}"


def test_a_record_is_at_the_path_of_its_cell() -> None:
    """Confirmations of the tuning are in results/tuning, runs of a board in results/boards."""
    for path in in_git():
        top, board, *_ = path.relative_to(RESULTS).parts
        assert top in {"boards", "tuning"}, f"{path} is in no folder of records"
        store = Store(CONFIRMATION) if top == "tuning" else board_store(ROOT, board)
        record = read_record(path)
        assert store.path(record.spec) == path
        assert record.spec.tuning == (top == "tuning"), f"{path} is in the wrong folder"


def test_confirmations_use_fresh_seeds_and_no_test_split(params: Params) -> None:
    seeds = tuning_of(params).confirmation_seeds
    for path in (path for path in in_git() if CONFIRMATION in path.parents):
        record = read_record(path)
        assert record.spec.seed in seeds, f"{path.name} has a seed of a board or of the search"
        assert record.outcome is None or record.outcome.test_accuracy is None, path.name


def test_the_results_of_the_tuning_agree_with_the_records_in_git() -> None:
    """After tuning, add results/tuning to git; docs/tuning.md says what is in which file."""
    records = {path.stem: path for path in in_git() if CONFIRMATION in path.parents}
    named: set[str] = set()
    for name, results in all_results(TUNING).items():
        for result in (one for kinds in results.values() for one in kinds.values()):
            if result.comparison is None:
                continue
            for runs, scores in (
                (result.comparison.default_runs, result.comparison.default),
                (result.comparison.found_runs, result.comparison.found),
            ):
                for run_id, score in zip(runs, scores, strict=True):
                    assert run_id in records, f"{name}: the record of {run_id} is not in git"
                    outcome = read_record(records[run_id]).outcome
                    assert score == (round(outcome.validation_accuracy, 4) if outcome else 0.0)
            named |= {*result.comparison.default_runs, *result.comparison.found_runs}
    assert named == records.keys(), "a confirmation in git belongs to no result"


def test_the_tuning_stays_small_in_git() -> None:
    files = [path for path in in_git() if TUNING in path.parents]
    size = sum(
        file.stat().st_size
        for path in files
        for file in (path, path.with_suffix(PROVENANCE))
        if file.exists()
    )
    assert size < 10_000_000


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


def test_the_canaries_in_git_have_a_reference_environment() -> None:
    """After a change of the code that moves outcomes: dpap-bench canaries --accept."""
    accepted = read_accepted(ROOT)
    assert accepted is not None
    references = read_references(ROOT)
    assert accepted.generation in {one.generation for one in references}
    for one in references:
        assert path_of(ROOT, one.environment).is_file()
        assert one.generation <= accepted.generation
    size = sum(path.stat().st_size for path in (ROOT / CANARIES).glob("*.json"))
    assert size < 100_000 * len(references), "these files are in git: keep them small"


def test_the_lineage_in_git_is_as_it_was_sealed() -> None:
    accepted = read_accepted(ROOT)
    assert accepted is not None
    lineage = read_lineage(ROOT)
    assert not lineage.entries or accepted.code.version in lineage.versions
    for entry in lineage.entries:
        assert entry.after in lineage.versions, "an entry leads nowhere"
