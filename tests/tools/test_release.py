"""A release in a small repository: what it writes, and what it refuses."""

from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path

import pytest
import yaml

from pipelines.audit.seal import SEAL, seal_folder
from pipelines.common.errors import BenchError
from tools.release import release

DAY = date(2026, 12, 1)
RECORD = "results/boards/quick/records/digits-snn/dense/0.json"
OLD = "## 0.1.0\n\nOld.\n"
FILES = {
    "CHANGELOG.md": f"# Changelog\n\n## Unreleased\n\n### Results\n\nNone moved.\n\n{OLD}",
    "pyproject.toml": '[project]\nname = "bench"\nversion = "0.1.0"\n\n[tool]\nversion = "9"\n',
    "CITATION.cff": "cff-version: 1.2.0\nversion: 0.1.0\nlicense: Apache-2.0\n",
    "results/lineage.json": "{}\n",
    RECORD: "{}\n",
}


def git(root: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "A state")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with one sealed record and a changelog."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "Test")
    git(tmp_path, "config", "user.email", "test@example.org")
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    seal_folder(tmp_path / "results" / "boards" / "quick" / "records")
    commit(tmp_path)
    return tmp_path


def test_version_and_date_are_written_committed_and_tagged(clone: Path) -> None:
    assert release("1.2.0", clone, DAY) == "v1.2.0"
    assert git(clone, "status", "--porcelain") == ""
    assert git(clone, "describe", "--exact-match").strip() == "v1.2.0"
    assert (clone / "CHANGELOG.md").read_text() == (
        "# Changelog\n\n## Unreleased\n\n## 1.2.0 (2026-12-01)\n\n### Results\n\nNone moved.\n\n"
        "## 0.1.0\n\nOld.\n"
    )
    project = (clone / "pyproject.toml").read_text()
    assert project == FILES["pyproject.toml"].replace("0.1.0", "1.2.0"), "one line has changed"
    citation = yaml.safe_load((clone / "CITATION.cff").read_text())
    assert citation["version"] == "1.2.0"
    assert citation["date-released"] == DAY


def test_the_next_release_replaces_the_date(clone: Path) -> None:
    release("1.2.0", clone, DAY)
    changelog = clone / "CHANGELOG.md"
    changelog.write_text(
        changelog.read_text().replace("## Unreleased\n", "## Unreleased\n\nMore.\n")
    )
    commit(clone)
    release("1.2.1", clone, date(2026, 12, 2))
    citation = (clone / "CITATION.cff").read_text()
    assert citation.count("date-released: ") == 1
    assert "date-released: 2026-12-02\n" in citation


def refusal(clone: Path, version: str = "1.2.0") -> str:
    """The sentence that refuses a release; nothing has changed then."""
    before = git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain")
    with pytest.raises(BenchError) as refused:
        release(version, clone, DAY)
    assert (git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain")) == before
    return str(refused.value)


def test_a_tree_with_changes_is_refused(clone: Path) -> None:
    (clone / "notes.txt").write_text("not committed")
    assert "the work tree has changes (first: notes.txt)" in refusal(clone)


def test_an_existing_tag_is_refused(clone: Path) -> None:
    git(clone, "tag", "v1.2.0")
    assert "the tag v1.2.0 exists already" in refusal(clone)


@pytest.mark.parametrize("version", ["1.2", "v1.2.0", "", "1.2.0-rc1"])
def test_other_versions_are_refused(clone: Path, version: str) -> None:
    assert f"'{version}' is no version X.Y.Z" in refusal(clone, version)


def test_records_without_a_seal_are_refused(clone: Path) -> None:
    (clone / "results" / "boards" / "quick" / "records" / SEAL).unlink()
    commit(clone)
    assert f"{RECORD} is in no sealed folder" in refusal(clone)


def test_a_broken_seal_is_refused(clone: Path) -> None:
    (clone / RECORD).write_text('{"edited": true}\n')
    commit(clone)
    assert f"{RECORD} was changed after it was sealed" in refusal(clone)


def test_an_empty_changelog_is_refused(clone: Path) -> None:
    release("1.2.0", clone, DAY)
    assert "CHANGELOG.md says nothing under '## Unreleased'" in refusal(clone, "1.3.0")
