"""The documentation builds without a warning, and its pages load nothing from other servers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

#: Addresses that a browser loads with the page, unlike links that a reader follows.
LOADED = re.compile(r"""(?:\bsrc=|<link[^>]*\bhref=|url\(|@import )["']?(https?:)?//""")


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    return subprocess.run(
        [*command, "-d", str(target / "doctrees"), str(source), str(target / "site")],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_site_is_complete_and_needs_no_network(tmp_path: Path) -> None:
    done = build(ROOT / "docs", tmp_path)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    names = {path.relative_to(ROOT / "docs").with_suffix("") for path in documents()}
    assert all((site / name.with_suffix(".html")).exists() for name in names)
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".svg")]
    assert not [path for path in files if LOADED.search(path.read_text())]
    rules = (site / "rules.html").read_text()
    assert (ROOT / "RULES.md").read_text().split("**")[1].rstrip(".") in rules
    assert 'href="rules.html"' in (site / "baselines.html").read_text(), (
        "links lead to the page, not to a copy of the file"
    )


def documents() -> list[Path]:
    return [path for end in ("md", "rst") for path in (ROOT / "docs").rglob(f"*.{end}")]


def test_addresses_that_a_page_loads_are_found() -> None:
    assert LOADED.search('<script src="https://cdn.example.org/x.js">')
    assert LOADED.search("@import url(//fonts.example.org/x.css)")
    assert LOADED.search('<link rel="stylesheet" href="https://example.org/x.css">')
    assert not LOADED.search('<a href="https://arxiv.org/abs/2211.12714">')
