"""Snapshots of a board: git revisions and folders, without touching the work tree."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from pipelines.boards.params import load_params
from pipelines.boards.snapshot import Snapshot, read_snapshots, require_same_rules
from pipelines.common.errors import BenchError, InputError
from pipelines.records.store import Store, board_store
from tests.helpers.handmade import fill, of_spec
from tests.helpers.projects import write_params

BOARD = {
    "workloads": ["digits-snn"],
    "baselines": ["dense", "magnitude"],
    "granularities": ["none", "unstructured"],
    "densities": [0.5],
    "seeds": [0, 1],
    "controls": ["shuffled"],
}


def git(project: Path, *arguments: str) -> str:
    """Run git as a user without settings of their own."""
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout


def commit(project: Path, tag: str) -> None:
    git(project, "add", "-A", "-f")
    git(project, "commit", "-q", "-m", tag)
    git(project, "tag", tag)


@pytest.fixture
def boards(project: Path) -> Path:
    """A clone whose board `quick` has two rows at the tag v1, and one row more at v2."""
    fields = yaml.safe_load((project / "params.yaml").read_text())
    git(project, "init", "-q")
    for tag, more in (("v1", []), ("v2", ["lamp"])):
        fields["boards"] = {"quick": BOARD | {"baselines": [*BOARD["baselines"], *more]}}
        write_params(project, fields)
        fill(load_params(project), "quick", board_store(project, "quick"))
        commit(project, tag)
    return project


def names(one: Snapshot) -> set[str]:
    return {record.spec.name for record in one.records}


def test_revisions_are_read_from_git_and_the_work_tree_stays(boards: Path) -> None:
    (boards / "results" / "boards" / "quick" / "records" / "note").write_text("mine")
    before = git(boards, "status", "--short"), git(boards, "rev-parse", "HEAD")
    old, new = read_snapshots("v1", "HEAD", None, boards)
    assert (old.board, new.board) == ("quick", "quick")
    assert old.settings_read
    assert new.settings_read
    assert names(old) == {"dense", "magnitude"}
    assert names(new) == {"dense", "magnitude", "lamp"}
    assert len(old.records) == 2 + 2 + 2, "dense, magnitude, and its controls"
    assert (git(boards, "status", "--short"), git(boards, "rev-parse", "HEAD")) == before


def test_a_folder_is_a_board_too(boards: Path) -> None:
    folder = boards / "results" / "boards" / "quick"
    old, new = read_snapshots("HEAD~1", str(folder), None, boards)
    assert names(new) - names(old) == {"lamp"}
    elsewhere = boards.parent / f"{boards.name}-copy" / "quick"
    elsewhere.parent.mkdir()
    (folder).rename(elsewhere)
    _, copied = read_snapshots("v2", str(elsewhere), None, boards)
    assert not copied.settings_read, "a copy outside of a clone has no params.yaml"
    assert sorted(r.run_id for r in copied.records) == sorted(r.run_id for r in new.records)


def test_records_that_left_the_board_do_not_count(boards: Path) -> None:
    fields = yaml.safe_load((boards / "params.yaml").read_text())
    fields["boards"]["quick"]["baselines"].remove("lamp")
    write_params(boards, fields)
    folder = boards / "results" / "boards" / "quick"
    _, new = read_snapshots("v2", str(folder), None, boards)
    assert names(new) == {"dense", "magnitude"}
    (boards / "params.yaml").write_text("boards: 1")
    _, unread = read_snapshots("v2", str(folder), None, boards)
    assert not unread.settings_read
    assert names(unread) == {"dense", "magnitude", "lamp"}


def test_without_settings_the_newest_record_of_a_cell_counts(boards: Path) -> None:
    params, store = load_params(boards), board_store(boards, "quick")
    (spec, *_) = params.cells("quick", methods=["lamp"])
    one = of_spec(params, spec)
    changed = replace(spec, options={"start": 0.3})
    store.write(
        replace(
            of_spec(params, spec, 0.5),
            spec=changed,
            run_id=changed.run_id,
            started_at=one.started_at + timedelta(days=1),
        )
    )
    (boards / "params.yaml").write_text("boards: 1")
    _, new = read_snapshots("v2", str(store.root.parent), None, boards)
    found = [r for r in new.records if r.spec.method == "lamp" and r.spec.seed == spec.seed]
    kept = next(record for record in found if not record.spec.control)
    assert kept.run_id == changed.run_id


#: Old, new, board, and why they are refused.
REFUSED = (
    ("v9", "HEAD", None, "'v9' is neither a folder nor a git revision of this clone"),
    ("v1", "results", None, "results is not the folder of a board: it has no folder 'records'"),
    ("params.yaml", "v1", None, "params.yaml is not the folder of a board"),
    ("v1", "v2", "paper", "revision 'v1' has no records of the board 'paper' in git"),
    ("results/boards/quick", "other", None, "to compare them nevertheless, give --board NAME"),
    ("empty", "v1", "quick", "empty has no records of the board 'quick'"),
)


def test_what_is_no_board_is_refused(boards: Path) -> None:
    for name in ("other", "empty"):
        (boards / name / "records").mkdir(parents=True)
    for old, new, board, sentence in REFUSED:
        with pytest.raises(InputError) as refused:
            read_snapshots(old, new, board, boards)
        assert sentence in str(refused.value)
        assert str(refused.value).endswith(".")


def test_two_folders_may_be_compared_as_one_board(boards: Path) -> None:
    folder = boards / "results" / "boards" / "quick"
    copied = boards / "old-quick"
    Store(copied / "records").root.mkdir(parents=True)
    for path in (folder / "records").rglob("*.json"):
        to = copied / path.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    old, new = read_snapshots(str(copied), str(folder), "quick", boards)
    assert names(old) == names(new)


def test_boards_of_different_rules_are_refused() -> None:
    def following(source: str, version: int) -> Snapshot:
        record: Any = SimpleNamespace(rules_version=version)
        return Snapshot(source, "quick", (record,), settings_read=True)

    require_same_rules(following("v1", 2), following("v2", 2))
    with pytest.raises(InputError, match="v1 follows version 1 of the rules, and v2 version 2"):
        require_same_rules(following("v1", 1), following("v2", 2))


def test_without_git_a_revision_is_refused(boards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(boards))
    with pytest.raises(BenchError, match="git is not installed"):
        read_snapshots("v1", "v2", None, boards)
