"""The marked blocks of a document, filled by the command `dpap-bench findings`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.cli.test_main import call

CLAIM = """claims:
- claim: It sees.
  citation: We 2025
  where: Fig. 1
  cannot: It needs ImageNet.
"""
BLOCKS = ("reading: quick 0.1", "findings: quick 0.1", "claims")


def document(path: Path, *names: str) -> None:
    path.write_text("".join(f"Before.\n<!-- {n} -->\nOLD\n<!-- end of {n} -->\n" for n in names))


def test_the_command_fills_all_blocks(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The project has no records: all is 'not computed yet'. A second call changes nothing."""
    page = project / "page.md"
    document(page, *BLOCKS)
    (project / "results").mkdir()
    (project / "results" / "claims.yaml").write_text(CLAIM)
    assert call(monkeypatch, "findings", "page.md") == 0
    assert capsys.readouterr().out == f"{', '.join(BLOCKS)}: page.md\n"
    text = page.read_text()
    assert "OLD" not in text
    assert text.count("Before.") == 3
    assert (
        text.count("0 of 260 runs of the board have a record; the others are not computed yet.")
        == 2
    )
    assert "1 claims, 1 checks" in text
    assert call(monkeypatch, "findings", "page.md") == 0
    assert page.read_text() == text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("No block.", "page.md has no lines '<!-- findings: BOARD DENSITY -->'"),
        ("<!-- reading: quick 0.1 -->\n", "has no line '<!-- end of reading: quick 0.1 -->'"),
        ("<!-- reading: slow 0.1 -->\n", "unknown board 'slow'"),
        ("<!-- reading: quick 0.7 -->\n", "the board 'quick' has no density 0.7; it has 0.1."),
    ],
)
def test_a_document_with_a_fault_is_not_changed(
    text: str,
    fault: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = project / "page.md"
    page.write_text(text)
    assert call(monkeypatch, "findings", "page.md") == 2
    assert fault in capsys.readouterr().err
    assert page.read_text() == text


def test_a_missing_document_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "findings", "lost.md") == 2
    assert "there is no lost.md" in capsys.readouterr().err
