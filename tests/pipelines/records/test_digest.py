"""The digest of the code that results depend on: which files count, and what of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.methods.registry import methods, source_files
from pipelines.records import digest as digest_module
from pipelines.records.digest import code_digest, digest_files
from tests.helpers.paths import ROOT


def test_python_and_c_files_of_the_harness_count(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        digest_module, "digest_files", lambda files: seen.extend(file.name for file in files)
    )
    code_digest("magnitude")
    compiled = {"norm_scan.c", "grey_convolution.c"}
    compiled |= {"spike_convolution.c", "moments.h", "vectors.h"}
    assert compiled | {"trainer.py"} <= set(seen)


def test_every_byte_counts_but_those_of_line_ends(tmp_path: Path) -> None:
    one, two = tmp_path / "a.py", tmp_path / "b.py"
    one.write_text("x = 1\n")
    two.write_text("")
    before = digest_files([one, two])
    assert digest_files([two, one]) == before
    one.write_text("x = 2\n")
    assert digest_files([one, two]) != before
    one.write_bytes(b"x = 1\r\n")
    assert digest_files([one, two]) == before, "CRLF counts as LF"


def test_each_method_depends_on_its_own_files() -> None:
    shared = {file.name for file in (ROOT / "baselines" / "shared").glob("*.py")}
    for name in methods():
        own = {file.name for file in source_files(name)}
        assert own
        assert not own & (shared - {"__init__.py"})
    assert {file.name for file in source_files("dpap")} >= {"pruner.py", "survival.py"}
