"""Submissions: packed by a contributor, verified and taken in by a maintainer."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.audit.seal import SEAL, seal_folder
from pipelines.boards.params import load_params
from pipelines.common import archives
from pipelines.engines.engine import run_cells
from pipelines.records.files import PROVENANCE, read_record
from pipelines.records.store import Store
from tests.helpers.paths import ROOT
from tests.helpers.projects import copy_settings
from tests.pipelines.cli.test_main import call, smaller

FILE = "submission.tar.gz"
METHOD = "magnitude"


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """A project with the results of one method on a small board, controls included."""
    home = tmp_path_factory.mktemp("contributor")
    copy_settings(home)
    (home / "params.yaml").write_text(smaller((ROOT / "params.yaml").read_text()))
    params, store = load_params(home), Store(home / "results" / "boards" / "quick" / "records")
    for part in ("cells", "controls"):
        cells = params.part(part, "quick", store, methods=[METHOD])  # type: ignore[arg-type]
        assert all(list(run_cells(cells, data_root, store, "serial", 1)))
    return home


@pytest.fixture
def home(computed: Path, project: Path, data_root: Path) -> Path:
    """The contributor's project, in a folder of its own for each test."""
    shutil.copytree(computed, project, dirs_exist_ok=True)
    (project / "data").symlink_to(data_root)
    return project


@pytest.fixture
def packed(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    assert call(monkeypatch, "submit", "--method", METHOD, "--no-rerun", "--to", FILE) == 0
    return home / FILE


def names(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


@pytest.mark.slow
def test_a_submission_is_packed_verified_and_taken_in(
    packed: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = sorted((home / "results").rglob("*.json"))
    times = [path.with_suffix(PROVENANCE) for path in records]
    there = names(packed)
    assert there == sorted(there)
    assert {name for name in there if name.count("/")} == {
        path.relative_to(home / "results" / "boards" / "quick").as_posix()
        for path in [*records, *times]
    }
    assert sum(name.startswith("controls/") for name in there) > 0
    first = packed.read_bytes()
    assert call(monkeypatch, "submit", "--method", METHOD, "--to", FILE) == 0, "with a second run"
    assert packed.read_bytes() == first, "the same records give the same archive"

    shutil.rmtree(home / "results")
    capsys.readouterr()
    assert call(monkeypatch, "verify", FILE, "--take-in") == 0
    out, err = capsys.readouterr()
    assert f"{len(records)} records: no fault" in out
    assert f"{len(records)} records taken in" in out
    assert "running records/" in err or "running controls/" in err
    assert sorted((home / "results").rglob("*.json")) == records
    assert call(monkeypatch, "verify", FILE, "--take-in", "--no-rerun") == 0
    assert "0 records taken in" in capsys.readouterr().out
    assert call(monkeypatch, "verify", "--no-rerun") == 0, "of records and controls in results/"
    assert f"{len(records)} records: no fault" in capsys.readouterr().out


def test_the_manifest_of_a_submission(packed: Path, home: Path) -> None:
    archives.unpack(packed, home / "open")
    manifest = json.loads((home / "open" / "submission.json").read_text())
    ((file, meaning),) = manifest["sources"][METHOD].items()
    assert file == f"baselines/{METHOD}.py"
    assert re.fullmatch("[0-9a-f]{64}", meaning)
    assert manifest["methods"][METHOD]["scope"] == "global"
    assert manifest["board"] == "quick"
    assert manifest["environments"][0]["threads"] == 1
    assert str(home) not in json.dumps(manifest)
    lines = (home / "open" / SEAL).read_text().splitlines()
    assert len(lines) == len(names(packed)) - 1


def _leave_out_a_seed(folder: Path) -> None:
    for path in sorted((folder / "records").rglob("*.json")):
        if json.loads(path.read_text())["spec"]["seed"] == 1:
            path.unlink()
    shutil.rmtree(folder / "controls")
    seal_folder(folder)


def _leave_out_controls(folder: Path) -> None:
    shutil.rmtree(folder / "controls")
    seal_folder(folder)


def _edit_a_record(folder: Path) -> None:
    path = min((folder / "records").rglob("*.json"))
    path.write_text(path.read_text().replace('"status": "ok"', '"status": "ok" '))


def _edit_manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "submission.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))
        seal_folder(folder)

    return edit


def _add_a_trial(folder: Path) -> None:
    """Add a tuning trial to the records."""
    path = min((folder / "records").rglob("*.json"))
    record = read_record(path)
    assert record.outcome is not None
    outcome = replace(record.outcome, test_accuracy=None, test_loss=None)
    spec = replace(record.spec, tuning=True)
    trial = replace(record, spec=spec, run_id=spec.run_id, outcome=outcome)
    Store(folder / "records").write(trial)
    seal_folder(folder)


def _add_a_seed(folder: Path) -> None:
    """Add a record of a seed that the board has not."""
    record = read_record(min((folder / "records").rglob("*.json")))
    spec = replace(record.spec, seed=7)
    losses = [replace(point, train_loss=2 * point.train_loss) for point in record.curve]
    Store(folder / "records").write(replace(record, spec=spec, run_id=spec.run_id, curve=losses))
    seal_folder(folder)


def _set_in_a_record(field: str, value: int) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = min((folder / "records").rglob("*.json"))
        document = json.loads(path.read_text())
        spec = document["spec"]
        (spec["settings"]["recipe"] if field == "epochs" else spec)[field] = value
        path.write_text(json.dumps(document))
        seal_folder(folder)

    return edit


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a seed left out": (_leave_out_a_seed, "promises digits-ann magnitude structured density 0.5"),
    "controls left out": (_leave_out_controls, "promises digits-ann magnitude-shuffled"),
    "edited": (_edit_a_record, "was changed after it was sealed in SHA256SUMS"),
    "no seal": (lambda folder: (folder / SEAL).unlink(), "SHA256SUMS: is missing"),
    "no manifest": (lambda folder: (folder / "submission.json").unlink(), "is missing; pack it"),
    "other board": (
        _edit_manifest(lambda manifest: manifest.update(board="slow")),
        "unknown board 'slow'",
    ),
    "other options": (
        _edit_manifest(lambda manifest: manifest["methods"][METHOD].update(updates=7)),
        "has other methods of magnitude than params.yaml and methods.yaml here",
    ),
    "other tuned values": (
        _edit_manifest(
            lambda manifest: manifest.update(tuned={METHOD: {"ann": {"hybrid": {"updates": 7}}}})
        ),
        "has other tuned of magnitude than",
    ),
    "other values at one granularity": (
        _edit_manifest(
            lambda manifest: manifest.update(granularities={METHOD: {"hybrid": {"updates": 7}}})
        ),
        "has other granularities of magnitude than",
    ),
    "other source": (
        _edit_manifest(
            lambda manifest: manifest["sources"][METHOD].update({f"baselines/{METHOD}.py": "0"})
        ),
        "was made with a version of baselines/magnitude.py that differs",
    ),
    "unknown method": (
        _edit_manifest(lambda manifest: manifest.update(names=["mine"])),
        "unknown method 'mine'",
    ),
    "newer": (
        _edit_manifest(lambda manifest: manifest.update(schema_version=99)),
        "update dpap-bench",
    ),
    "empty manifest": (
        _edit_manifest(lambda manifest: manifest.clear()),
        "is not a valid manifest: board: Field req",
    ),
    "a cell more": (_add_a_seed, "is a cell that the board does not ask for"),
    "other threads": (
        _edit_manifest(lambda manifest: manifest["compute"].update(threads=2)),
        "but params.yaml here has",
    ),
    "200,000 threads": (_set_in_a_record("threads", 200_000), "spec.threads"),
    "10^9 epochs": (_set_in_a_record("epochs", 10**9), "epochs"),
    "a trial": (_add_a_trial, "is no run of magnitude; leave it out."),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_submission_with_a_fault_is_refused(
    packed: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    tamper, sentence = FAULTS[what]
    archives.unpack(packed, home / "open")
    tamper(home / "open")
    archives.pack(home / "open", packed)
    shutil.rmtree(home / "results")
    capsys.readouterr()
    assert call(monkeypatch, "verify", FILE, "--no-rerun", "--take-in") == 1
    out, err = capsys.readouterr()
    assert sentence in out
    assert all(line.startswith("fault  ") for line in out.splitlines()), out
    assert "faults in" in err
    assert not (home / "results").exists(), "nothing is taken in"


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ("submit --method grand", 2, "unknown method of the board 'grand'"),
        ("submit --method random", 1, "runs have no record (first: digits-ann random"),
        ("submit --board slow", 2, "unknown board 'slow'"),
        ("verify params.yaml", 1, "as a .tar.gz or .zip archive"),
        ("verify nowhere.tar.gz", 2, "there is no file or folder nowhere.tar.gz"),
        (f"verify {FILE} --seal", 2, "a submission is sealed"),
        ("verify results --take-in", 2, "only a packed submission can be taken in"),
    ],
)
def test_impossible_requests_are_refused_in_one_sentence(
    packed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    status: int,
    sentence: str,
) -> None:
    capsys.readouterr()
    assert call(monkeypatch, *arguments.split()) == status
    out, err = capsys.readouterr()
    assert sentence in err
    assert err.count("\n") == 1
    assert not out


def test_records_with_faults_are_not_packed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = min((home / "results" / "boards" / "quick" / "records").rglob("*.json"))
    document = json.loads(path.read_text())
    document["spent"] = {}
    path.write_text(json.dumps(document))
    assert call(monkeypatch, "submit", "--method", METHOD, "--no-rerun", "--to", FILE) == 1
    assert (
        f"fault  {path.relative_to(home / 'results' / 'boards' / 'quick')}: "
        in capsys.readouterr().out
    )
    assert not (home / FILE).exists()


def test_other_files_in_results_are_no_records(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = home / "results"
    count = len(list(results.rglob("*.json")))
    for name in (
        "lineage.json",
        "canaries/x.json",
        "tuning/x.json",
        "boards/quick/leaderboard.json",
    ):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("{}")
    for folder in ("results", "results/boards", "results/boards/quick"):
        capsys.readouterr()
        assert call(monkeypatch, "verify", folder, "--no-rerun") == 0
        assert f"{count} records: no fault" in capsys.readouterr().out


def test_a_method_that_breaks_the_contract_is_not_submitted(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "pipelines.authoring.check.faults", lambda *_: [("hybrid", "is not what it says.")]
    )
    assert call(monkeypatch, "submit", "--method", METHOD, "--to", FILE) == 1
    assert f"submission.json: {METHOD} (hybrid): is not what" in capsys.readouterr().out
    assert not (home / FILE).exists()


def test_records_that_would_be_replaced_are_named(
    packed: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = min((home / "results").rglob("*.json"))
    before = path.read_text().replace('"status": "ok"', '"status":  "ok"')
    path.write_text(before)
    capsys.readouterr()
    assert call(monkeypatch, "verify", FILE, "--no-rerun", "--take-in") == 1
    err = capsys.readouterr().err
    assert f"1 records here would be replaced: {path.relative_to(home)};" in err
    assert path.read_text() == before
