"""Plug-ins: which packages and files a distribution that registers methods has."""

from __future__ import annotations

from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

from baselines.shared.info import ENTRY_POINT
from pipelines.methods.plugins import packages_of, plugins, source_files


def test_the_packages_of_a_distribution(tmp_path: Path) -> None:
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINT}]\nmine = mine.deep.method:Mine\n")
    (info / "top_level.txt").write_text("mine\nextra\n")
    (info / "RECORD").write_text(
        "mine/__init__.py,,\nsingle.py,,\n__editable___mine_finder.py,,\n../../bin/tool.py,,\n"
    )
    (entry,) = Distribution.at(info).entry_points.select(group=ENTRY_POINT)
    assert packages_of(entry) == {"mine", "extra", "single"}
    assert packages_of(EntryPoint("a", "alone.part:A", ENTRY_POINT)) == {"alone"}


def test_the_source_files_of_a_package(tmp_path: Path) -> None:
    for name in ("a.py", "deep/b.c", "deep/c.txt", "__pycache__/a.cpython-311.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [path.name for path in source_files(tmp_path)] == ["a.py", "b.c"]
    assert list(source_files(tmp_path / "a.py")) == [tmp_path / "a.py"]


def test_our_own_methods_are_no_plugins() -> None:
    assert not {"baselines", "dpap", "pipelines"} & set(plugins())
