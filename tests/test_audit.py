"""Verifying records: each way to tamper with one is found, and an honest folder is not accused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import audit
from pipelines.core.cell import run_cell
from pipelines.core.record import SCHEMA_VERSION, RunRecord
from pipelines.core.store import Store
from pipelines.grid import Params
from tests.test_cli import call

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


def _accuracy(document: dict[str, Any]) -> None:
    document["outcome"]["validation_accuracy"] += 0.01


def _density(document: dict[str, Any]) -> None:
    document["outcome"]["cost"]["density"] += 0.1


EDITS: dict[str, tuple[Edit, str]] = {
    "accuracy": (_accuracy, "ends its curve with another validation accuracy"),
    "density": (_density, r"density 0\.6\d* misses 0\.5"),
    "digest": (lambda d: d.update(code_digest="0", code_digest_end="0"), "made by other code"),
    "digest of the end": (lambda d: d.update(code_digest_end="0"), "changed during the run"),
    "schema": (lambda d: d.update(schema_version=SCHEMA_VERSION + 1), "update dpap-bench"),
    "spec": (lambda d: d["spec"].update(seed=9), "run_id is not that of its spec"),
    "budget": (lambda d: d.update(budget=d["budget"] + 1), r"has a budget of \d+ samples, \w+"),
    "not all spent": (lambda d: d.update(spent={}), "is ok, but spent 0 of"),
    "impossible accuracy": (lambda d: d["outcome"].update(test_accuracy=1.5), "accuracy of 1.5"),
    "endless loss": (lambda d: d["outcome"].update(test_loss=math.inf), "outcome.test_loss is inf, which is no number"),
    "spent": (lambda d: d["spent"].update(more=1), r"spent \d+ samples of"),
    "no outcome": (lambda d: d.update(outcome=None), "no outcome"),
    "no record": (lambda d: d.clear(), "no valid record"),
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


def test_a_run_that_is_there_twice(folder: Path) -> None:
    copy = folder / "copy" / first(folder).name
    copy.parent.mkdir()
    copy.write_text(first(folder).read_text())
    audit.seal(folder)
    assert "holds the same run" in found(folder)


def test_a_second_run(made: list[RunRecord]) -> None:
    one, other = made
    assert not audit.differences(one, one)
    assert one.outcome is not None
    better = one.outcome.model_copy(
        update={"test_accuracy": (one.outcome.test_accuracy or 0) + 0.1}
    )
    claimed = one.model_copy(update={"outcome": better})
    assert audit.differences(claimed, one) == ["outcome differs in a second run."]
    elsewhere = one.environment.model_copy(update={"processor": "another"})
    assert not audit.differences(one.model_copy(update={"environment": elsewhere}), one)
    claimed = claimed.model_copy(update={"environment": elsewhere})
    assert "has test accuracy" in audit.differences(claimed, one)[0]
    older = one.model_copy(update={"code_digest": "0", "code_digest_end": "0"})
    assert not audit.differences(older, one), "other code is no difference of its own"
    failed = other.model_copy(update={"status": "diverged", "message": "loss is nan"})
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
    edit(folder, lambda d: d["outcome"].update(test_accuracy=1.0))
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
