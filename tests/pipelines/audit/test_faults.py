"""Faults of folders of records: tampering is found, and an honest folder has no fault."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.audit.faults import faults
from pipelines.audit.seal import seal_folder
from pipelines.records.files import read_record
from pipelines.records.record import SCHEMA_VERSION, RunRecord
from pipelines.records.store import Store
from tests.helpers.tampering import add_to, edit, first, found, set_to
from tests.pipelines.cli.test_main import call


def other_code(document: dict[str, Any]) -> None:
    document.update(code_digest="0", code_digest_end="0")


def test_honest_records_have_no_fault(folder: Path) -> None:
    assert found(folder) == ""


def test_records_of_other_code_can_be_allowed(folder: Path) -> None:
    edit(folder, other_code)
    assert found(folder, any_code=True) == ""


def test_a_record_of_tuning_may_be_of_earlier_code(folder: Path) -> None:
    edit(folder, other_code)
    assert "another version of the code" in found(folder)
    edit(folder, set_to("spec", "tuning", value=True))
    assert "another version of the code" not in found(folder)


def _remove(folder: Path) -> None:
    first(folder).unlink()


def _double(folder: Path) -> None:
    """Copy a record into another folder, and seal both."""
    copy = folder / "copy" / first(folder).name
    copy.parent.mkdir()
    copy.write_text(first(folder).read_text())
    seal_folder(folder)


def _better(folder: Path) -> None:
    """Edit a record, and do not seal the folder again."""
    document = json.loads(first(folder).read_text())
    document["outcome"]["test_accuracy"] = 449 / 450
    first(folder).write_text(json.dumps(document))


TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "edited accuracy": (
        _better,
        r"was changed after it was sealed in SHA256SUMS; restore the old file\.",
    ),
    "wrong digest": (
        lambda folder: edit(folder, other_code),
        r"was made by another version of the code; run its cell again\.",
    ),
    "density": (
        lambda folder: edit(folder, add_to("outcome", "cost", "density", number=0.1)),
        r"is ok, but misses its target: density 0\.6\d* instead of 0\.5\.",
    ),
    "duplicate run": (_double, r"holds the same run as \w+\.json in .*; delete one\."),
    "removed record": (_remove, r"is in SHA256SUMS, but the file is gone; restore it\."),
    "newer schema": (
        lambda folder: edit(folder, set_to("schema_version", value=SCHEMA_VERSION + 1)),
        r"has schema version \d+, but this program knows versions up to \d+; update dpap-bench\.",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_verify_names_the_file_and_the_fault(
    folder: Path,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    assert call(monkeypatch, "verify", str(folder), "--no-rerun") == 0
    tamper, sentence = TAMPERED[what]
    tamper(folder)
    capsys.readouterr()
    assert call(monkeypatch, "verify", str(folder), "--no-rerun") == 1
    out, err = capsys.readouterr()
    assert re.search(rf"^fault  \S+\.json: {sentence}$", out, re.MULTILINE), out
    faults = out.splitlines()
    assert all(line.startswith("fault  ") for line in faults)
    assert f"dpap-bench: {len(faults)} faults in " in err


def test_losses_copied_to_another_seed_are_found(folder: Path) -> None:
    """A copied record with another seed, whose file name and run_id fit that seed."""
    path = first(folder)
    record = read_record(path)
    spec = replace(record.spec, seed=7)
    copied = replace(record, spec=spec, run_id=spec.run_id)
    path.with_name(f"{spec.run_id}.json").write_text(copied.to_json())
    seal_folder(folder)
    assert "but the same training losses as" in found(folder)


@pytest.mark.parametrize(("epochs", "factor", "is_found"), [(5, 1.0005, True), (5, 1.01, False)])
def test_losses_almost_copied_to_another_seed_are_found(
    folder: Path, epochs: int, factor: float, is_found: bool
) -> None:
    record = read_record(first(folder))
    losses = [replace(record.curve[0], samples=number + 1) for number in range(epochs)]
    moved = [replace(point, train_loss=point.train_loss * factor) for point in losses]
    spec = replace(record.spec, seed=7)
    Store(folder).write(replace(record, curve=losses))
    Store(folder).write(replace(record, spec=spec, run_id=spec.run_id, curve=moved))
    assert ("but the same training losses as" in found(folder)) == is_found


def test_a_record_in_the_wrong_folder_is_found(folder: Path) -> None:
    path = first(folder)
    path.rename(folder / path.name)
    seal_folder(folder)
    assert f"move it to digits-ann/magnitude/{path.name}" in found(folder)


def test_a_control_must_have_followed_the_record_of_its_parent(
    folder: Path, made: list[RunRecord]
) -> None:
    store, parent = Store(folder), made[0]
    spec = replace(parent.spec, control="shuffled")
    fields = {"spec": spec, "run_id": spec.run_id, "parent": parent.trajectory.digest}
    control = replace(parent, **fields)
    store.write(control)
    both = folder, folder.parent / "controls"
    assert not list(faults(*both))
    assert not list(faults(both[1])), "a folder of controls can be checked alone"
    store.write(replace(control, parent="0" * 64))
    assert "that differs from the record here" in next(faults(*both))[1]
    store.path(parent.spec).unlink()
    seal_folder(folder)
    sentences = [sentence for _, sentence in faults(*both)]
    assert f"is a control of run {parent.run_id}, which has no record." in sentences


def test_verify_finds_a_consistent_forgery_by_a_second_run(
    folder: Path,
    made: list[RunRecord],
    monkeypatch: pytest.MonkeyPatch,
    data_root: Path,
    capsys: pytest.CaptureFixture[str],
    project: Path,
) -> None:
    (project / "data").symlink_to(data_root)
    max(folder.rglob("*.json")).unlink()
    command = ("verify", str(folder), "--seal")
    assert call(monkeypatch, *command) == 0
    assert "1 records: no fault" in capsys.readouterr().out
    edit(folder, set_to("outcome", "test_accuracy", value=1.0))
    edit(folder, set_to("outcome", "confusion", value=[[450]]))
    edit(folder, set_to("outcome", "correct", value=None))
    assert call(monkeypatch, *command, "--no-rerun") == 0
    assert call(monkeypatch, *command) == 1
    out, err = capsys.readouterr()
    assert "outcome differs in a second run." in out
    assert "dpap-bench: 1 faults in 1 records" in err
    assert call(monkeypatch, "verify", str(project / "nowhere")) == 2
    assert "there is no file or folder" in capsys.readouterr().err
