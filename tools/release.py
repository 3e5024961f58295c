"""Prepares a release: version, date and changelog are written, committed and tagged.

``make release VERSION=X.Y.Z`` runs ``python -m tools.release X.Y.Z``. Nothing is pushed.
docs/releasing.md has the steps before and after.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath

from pipelines.audit.seal import SEAL, broken_seals
from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file

ROOT = Path(__file__).parent.parent
CHANGELOG, PROJECT, CITATION = "CHANGELOG.md", "pyproject.toml", "CITATION.cff"
UNRELEASED = "## Unreleased\n"
#: Tracked files below results/ with this ending that are no records.
_NO_RECORDS = ("results/lineage.json", "results/canaries/")


def release(version: str, root: Path = ROOT, today: date | None = None) -> str:
    """Write version and date into the project's files, commit them, and tag the commit.

    Parameters
    ----------
    version
        The new version, X.Y.Z.
    root
        The project's folder, a clone.
    today
        Date of the release; None: today.

    Returns
    -------
    str
        The tag.

    Raises
    ------
    BenchError
        If the version or the tag cannot be used, the work tree has changes, records have no seal or
        a broken one, or the changelog says nothing about this version.
    """
    tag = f"v{version}"
    _require_new(version, tag, root)
    _require_clean(root)
    for fault in seal_faults(root):
        raise BenchError(f"{fault} Then release again.")
    day = (today or datetime.now(UTC).date()).isoformat()
    texts = {
        CHANGELOG: _changelog((root / CHANGELOG).read_text(), version, day),
        PROJECT: _replaced(root, PROJECT, r'^version = ".*"$', f'version = "{version}"'),
        CITATION: _citation(root, version, day),
    }
    for name, text in texts.items():
        with atomic_file(root / name) as file:
            file.write(text.encode())
    _git(root, "add", *texts)
    _git(root, "commit", "--quiet", "--message", f"Release {version}")
    _git(root, "tag", "--annotate", tag, "--message", f"DPAP Bench {version}")
    return tag


def seal_faults(root: Path) -> Iterator[str]:
    """Yield a sentence for each tracked record without a seal, and for each broken seal.

    Parameters
    ----------
    root
        The project's folder, a clone.
    """
    listed = _git(root, "ls-files", "-z", "--", "results").split("\0")
    names = {PurePosixPath(name) for name in listed if name}
    sealed = {name.parent for name in names if name.name == SEAL}
    for name in sorted(names):
        if name.suffix != ".json" or str(name).startswith(_NO_RECORDS):
            continue
        if not sealed & set(name.parents):
            yield f"{name} is in no sealed folder; run: dpap-bench verify FOLDER --no-rerun --seal."
    for folder in sorted(sealed):
        for path, sentence in broken_seals(root / folder):
            yield f"{path.relative_to(root)} {sentence}"


def _require_new(version: str, tag: str, root: Path) -> None:
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise BenchError(f"'{version}' is no version X.Y.Z, such as 1.0.0; give one.")
    if _git(root, "tag", "--list", tag).strip():
        raise BenchError(f"the tag {tag} exists already; give a newer version.")


def _require_clean(root: Path) -> None:
    if changed := _git(root, "status", "--porcelain").splitlines():
        raise BenchError(
            f"the work tree has changes (first: {changed[0][3:]}); commit them, or remove them."
        )


def _changelog(text: str, version: str, day: str) -> str:
    """Give the part about unreleased changes the version and its date; add a new, empty part."""
    before, found, rest = text.partition(UNRELEASED)
    told = rest.partition("\n## ")[0].strip()
    if not found or not told:
        raise BenchError(
            f"{CHANGELOG} says nothing under '{UNRELEASED.strip()}'; write what changed in "
            "results, then in code."
        )
    return f"{before}{UNRELEASED}\n## {version} ({day})\n{rest}"


def _citation(root: Path, version: str, day: str) -> str:
    """Write version and date into the citation; the line of the date is added if it is missing."""
    text = _replaced(root, CITATION, r"^version: .*$", f"version: {version}")
    text = re.sub(r"^date-released: .*\n", "", text, flags=re.M)
    return text.replace(f"version: {version}\n", f"version: {version}\ndate-released: {day}\n", 1)


def _replaced(root: Path, name: str, pattern: str, line: str) -> str:
    text, count = re.subn(pattern, line, (root / name).read_text(), count=1, flags=re.M)
    if not count:
        raise BenchError(f"{name} has no line with the version; restore it.")
    return text


def _git(root: Path, *arguments: str) -> str:
    """Run git in a folder and return its output.

    Raises
    ------
    BenchError
        If it fails.
    """
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise BenchError(f"'{' '.join(command[:2])}' failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    try:
        made = release(sys.argv[1] if len(sys.argv) > 1 else "")
        print(f"tagged {made}; push it with: git push origin main --follow-tags")
    except BenchError as error:
        sys.exit(f"error: {error}")
