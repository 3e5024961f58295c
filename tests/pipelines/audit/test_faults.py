"""Verifying records: each way to tamper with one is found, and an honest folder is not accused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.audit import faults as audit
from pipelines.audit.plausibility import contradictions
from pipelines.boards.params import Params
from pipelines.records.record import SCHEMA_VERSION, RunRecord, read_record
from pipelines.records.store import Store
from pipelines.training.cell import run_cell
from tests.pipelines.cli.test_main import call

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def made(params: Params, data_root: Path) -> list[RunRecord]:
    """Two honest runs."""
    short = params.workloads["digits-ann"].model_copy(
        update={"recipe": params.workloads["digits-ann"].recipe.model_copy(update={"epochs": 1})}
    )
    params = params.model_copy(update={"workloads": params.workloads | {"digits-ann": short}})
    cells = [params.spec("digits-ann", "magnitude", "unstructured", 0.5, seed) for seed in (0, 1)]
    return [run_cell(cell, data_root) for cell in cells]


@pytest.fixture
def folder(made: list[RunRecord], tmp_path: Path) -> Path:
    store = Store(tmp_path / "records")
    for record in made:
        store.write(record)
    audit.seal(store.root)
    return store.root


def first(folder: Path) -> Path:
    return min(folder.rglob("*.json"))


def edit(folder: Path, change: Edit) -> None:
    """Change a record, and seal the folder again as somebody would who knows how."""
    document = json.loads(first(folder).read_text())
    change(document)
    first(folder).write_text(json.dumps(document))
    audit.seal(folder)


def found(folder: Path, **options: bool) -> str:
    return "\n".join(sentence for _, sentence in audit.faults(folder, **options))


def test_honest_records_have_no_fault(folder: Path, made: list[RunRecord]) -> None:
    assert [record.status for record in made] == ["ok", "ok"], made[0].message
    assert found(folder) == ""
    lines = (folder / audit.SEAL).read_text().splitlines()
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+\.json", line) for line in lines)
    assert len(lines) == 2


def _change(*path: str | int, by: Callable[[Any], Any]) -> Edit:
    """Build an edit of the value at a path."""

    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = by(document[path[-1]])

    return change


def _set(*path: str | int, to: Any) -> Edit:
    return _change(*path, by=lambda _: to)


def _add(*path: str | int, number: float) -> Edit:
    return _change(*path, by=lambda value: value + number)


_COST = ("outcome", "cost")
EDITS: dict[str, tuple[Edit, str]] = {
    "accuracy": (_add("outcome", "validation_accuracy", number=-1 / 180), "another validation acc"),
    "no share of the test split": (_set("outcome", "test_accuracy", to=0.951), "no 450 samples"),
    "confusion": (_add("outcome", "confusion", 0, 1, number=1), "does not give its test accuracy"),
    "right answers": (_add("outcome", "confusion", 0, 0, number=-1), "does not give its test acc"),
    "impossible accuracy": (
        _set("outcome", "test_accuracy", to=1.5),
        "has test_accuracy 1.5, which must be in .0, 1.",
    ),
    "density": (_add(*_COST, "density", number=0.1), r"density 0\.6\d* misses 0\.5"),
    "density within the tolerance": (_add(*_COST, "density", number=2e-4), "weights do not give"),
    "density of whole weights": (_add(*_COST, "density", number=1 / 12944), "ends its curve at"),
    "target": (_set("status", to="off-target"), "is what it should be"),
    "status": (_set("status", to="failed"), "is failed and has an outcome"),
    "message": (_set("message", to="fine"), "is ok, and says 'fine'"),
    "digest": (lambda d: d.update(code_digest="0", code_digest_end="0"), "made by other code"),
    "digest of the end": (_set("code_digest_end", to="0"), "changed during the run"),
    "schema": (_set("schema_version", to=SCHEMA_VERSION + 1), "update dpap-bench"),
    "spec": (_set("spec", "seed", to=9), "run_id is not that of its spec"),
    "budget": (_add("budget", number=1), r"has a budget of \d+ samples, \w+"),
    "budget of the workload": (_add("budget", number=1), "its workload one of 1167"),
    "not all spent": (_set("spent", to={}), "is ok, but spent 0 of"),
    "spent": (lambda d: d["spent"].update(more=1), r"spent \d+ samples of"),
    "less than nothing": (lambda d: d["spent"].update(a=-5, b=5), "fewer than no samples"),
    "no outcome": (_set("outcome", to=None), "no outcome"),
    "no record": (lambda d: d.clear(), "no valid record"),
    "endless loss": (_set("outcome", "test_loss", to=math.inf), "Infinity is no number"),
    "no number": (_set("curve", 0, "train_loss", to=math.nan), "NaN is no number"),
    "negative loss": (
        _set("outcome", "test_loss", to=-1.0),
        "has test_loss -1, which must be finite and at least 0",
    ),
    "short curve": (_set("curve", to=[]), "curve of 0 points, and began 1 epochs"),
    "long curve": (_change("curve", by=lambda c: 2 * c), "curve of 2 points, and began 1 epochs"),
    "curve that stands still": (_change("curve", by=lambda c: 2 * c), "does not go on"),
    "curve of another budget": (_add("curve", 0, "samples", number=-7), "after 1160 samples, and"),
    "clock of an epoch": (_set("curve", 0, "seconds", to=-1.0), "clock that runs backwards"),
    "clock of the run": (_set("total_seconds", to=0.0), "clock that runs backwards"),
    "slower than the curve": (
        _add("train_seconds", number=1e-3),
        "longer than its curve|backwards",
    ),
    "tomorrow": (_set("started_at", to="2199-01-01T00:00:00Z"), "2199-01-01, which is still to"),
    "no time zone": (_set("started_at", to="2026-01-01T00:00:00"), "which time zone"),
    "checkpoint": (_set("checkpoint", to="0" * 64), "that a from-scratch run cannot have"),
    "parent": (_set("parent", to="0" * 64), "that a from-scratch run cannot have"),
    "threads": (_set("environment", "threads", to=8), "ran with 8 threads, its spec asks for 1"),
    "macs": (_add(*_COST, "macs", number=-1), "has MACs of"),
    "synops": (_add(*_COST, "synops", number=9.0), "has SynOps of"),
    "energy": (_change(*_COST, "energy_nanojoule", by=lambda e: e / 2), "has energy of"),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_contradiction_is_found(folder: Path, what: str) -> None:
    change, message = EDITS[what]
    edit(folder, change)
    assert re.search(message, found(folder)), found(folder)


def test_other_code_can_be_allowed(folder: Path) -> None:
    edit(folder, EDITS["digest"][0])
    assert found(folder, any_code=True) == ""


def test_the_seal_tells_edited_removed_and_added_records(folder: Path) -> None:
    path = first(folder)
    text = path.read_text()
    accuracy = json.loads(text)["outcome"]["test_accuracy"]
    path.write_text(text.replace(f'"test_accuracy": {accuracy}', '"test_accuracy": 0.999'))
    assert path.read_text() != text
    assert "is not what was sealed" in found(folder)
    path.unlink()
    assert "but gone" in found(folder)
    (folder / "other.json").write_text(text)
    assert "is not in SHA256SUMS" in found(folder)
    assert "must be called" in found(folder)


def _remove(folder: Path) -> None:
    first(folder).unlink()


def _double(folder: Path) -> None:
    """Put a record there twice, and seal both."""
    copy = folder / "copy" / first(folder).name
    copy.parent.mkdir()
    copy.write_text(first(folder).read_text())
    audit.seal(folder)


def _better(folder: Path) -> None:
    """Edit a record by hand, without sealing it again."""
    document = json.loads(first(folder).read_text())
    document["outcome"]["test_accuracy"] = 449 / 450
    first(folder).write_text(json.dumps(document))


TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "edited accuracy": (_better, "is not what was sealed in SHA256SUMS; bring that back."),
    "wrong digest": (
        lambda folder: edit(folder, EDITS["digest"][0]),
        "was made by other code than is here; run its cell again.",
    ),
    "density": (
        lambda folder: edit(folder, EDITS["density"][0]),
        r"is ok, but its density 0\.6\d* misses 0\.5\.",
    ),
    "duplicate run": (_double, r"holds the same run as \w+\.json in .*; delete one\."),
    "removed record": (_remove, "is in SHA256SUMS, but gone; bring it back."),
    "newer schema": (
        lambda folder: edit(folder, EDITS["schema"][0]),
        r"has schema version \d+, this program knows up to \d+; update dpap-bench\.",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_the_command_names_what_was_tampered_with(
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


def test_losses_of_another_seed(folder: Path) -> None:
    """A record whose seed is another, and whose file and run_id were made to fit."""
    path = first(folder)
    record = read_record(path)
    spec = replace(record.spec, seed=7)
    copied = replace(record, spec=spec, run_id=spec.run_id)
    path.with_name(f"{spec.run_id}.json").write_text(copied.to_json())
    audit.seal(folder)
    assert "and the very losses of" in found(folder)


def test_a_record_in_the_wrong_folder(folder: Path) -> None:
    path = first(folder)
    path.rename(folder / path.name)
    audit.seal(folder)
    assert f"must be called digits-ann/magnitude/{path.name}" in found(folder)


@pytest.mark.parametrize(
    ("field", "what"),
    [("workload", "workload"), ("variant", "variant"), ("matched_to", "matched method")],
)
def test_a_name_that_leads_out_of_the_folder(made: list[RunRecord], field: str, what: str) -> None:
    spec = replace(made[0].spec, **{field: "../../elsewhere"})
    record = replace(made[0], spec=spec)
    assert f"has the {what} '../../elsewhere', which is no name." in [*contradictions(record)]


def test_controls_are_held_to_their_parents(folder: Path, made: list[RunRecord]) -> None:
    store, parent = Store(folder), made[0]
    spec = replace(parent.spec, control="shuffled")
    fields = {"spec": spec, "run_id": spec.run_id, "parent": parent.trajectory.digest}
    control = replace(parent, **fields)
    store.write(control)
    both = folder, folder.parent / "controls"
    assert not list(audit.faults(*both))
    assert not list(audit.faults(both[1])), "a folder of controls may be looked at alone"
    store.write(replace(control, parent="0" * 64))
    assert "that is not the one here" in next(audit.faults(*both))[1]
    store.path(parent.spec).unlink()
    audit.seal(folder)
    assert f"is a control of {parent.run_id}, which is gone." in [s for _, s in audit.faults(*both)]


def test_a_second_run(made: list[RunRecord]) -> None:
    one, other = made
    assert not audit.differences(one, one)
    assert one.outcome is not None
    better = replace(one.outcome, test_accuracy=(one.outcome.test_accuracy or 0) + 0.1)
    claimed = replace(one, outcome=better)
    assert audit.differences(claimed, one) == ["outcome differs in a second run."]
    elsewhere = one.environment.model_copy(update={"processor": "another"})
    assert not audit.differences(replace(one, environment=elsewhere), one)
    claimed = replace(claimed, environment=elsewhere)
    assert "has test accuracy" in audit.differences(claimed, one)[0]
    older = replace(one, code_digest="0", code_digest_end="0")
    assert not audit.differences(older, one), "other code is no difference of its own"
    failed = replace(other, status="diverged", message="loss is nan")
    assert audit.differences(one, failed) == ["is ok, and a second run is diverged: loss is nan"]


def test_the_command_finds_by_a_second_run_what_nothing_else_tells(
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
    edit(folder, _set("outcome", "test_accuracy", to=1.0))
    edit(folder, _set("outcome", "confusion", to=[[450]]))
    assert call(monkeypatch, *command, "--no-rerun") == 0
    assert call(monkeypatch, *command) == 1
    out, err = capsys.readouterr()
    assert "outcome differs in a second run." in out
    assert "dpap-bench: 1 faults in 1 records" in err
    assert call(monkeypatch, "verify", str(project / "nowhere")) == 2
    assert "holds no record" in capsys.readouterr().err


def test_a_seal_that_is_none_is_a_fault_and_no_crash(folder: Path) -> None:
    (folder / audit.SEAL).write_text("nonsense\n")
    assert "is not in SHA256SUMS" in found(folder)
