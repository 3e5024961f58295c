"""The catalogue: parsed metadata equals that of the classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from baselines.shared.info import PrunerInfo
from pipelines.methods import catalogue
from pipelines.methods.catalogue import in_headlines, infos
from pipelines.methods.registry import methods


def test_parsed_infos_equal_those_of_the_classes() -> None:
    assert infos() == {name: kind.info for name, kind in methods().items()}


def test_methods_are_imported_if_an_info_cannot_be_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(file: Path) -> Iterator[PrunerInfo]:
        raise ValueError(f"{file}: info is not built where it is set")

    monkeypatch.setattr(catalogue, "_read", unreadable)
    caches = infos, catalogue._entries
    for one in caches:
        one.cache_clear()
    try:
        assert infos()["dpap"] is methods()["dpap"].info
        assert catalogue.source("dpap") == "dpap/pruner.py"
        assert catalogue.source("nobody") == ""
    finally:
        for one in caches:
            one.cache_clear()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("class A:\n info = PrunerInfo(name='a' + X, summary='', paper='')", ValueError),
        ("class A:\n info = replace(B.info, name='a')", KeyError),
        ("class A:\n info = INFO", ValueError),
        ("class A:\n info = PrunerInfo(nam='a')", TypeError),
    ],
)
def test_infos_that_cannot_be_parsed(tmp_path: Path, source: str, error: type[Exception]) -> None:
    (tmp_path / "a.py").write_text(source)
    with pytest.raises(error):
        list(catalogue._read(tmp_path / "a.py"))


def test_methods_written_after_an_abstract_stay_out_of_headlines() -> None:
    assert not in_headlines("slamp")
    assert not in_headlines("slamp:variant")
    assert in_headlines("magnitude:erk")
    assert in_headlines("a-plug-in-that-is-gone")


@pytest.mark.parametrize(
    ("source", "expected"),
    [("plugin", True), ("plugin.methods", True), ("dpap/pruner.py", False), ("", False)],
)
def test_methods_of_plug_ins_have_modules_as_sources(
    monkeypatch: pytest.MonkeyPatch, source: str, expected: bool
) -> None:
    monkeypatch.setattr(catalogue, "source", lambda _: source)
    assert catalogue.of_plugin("any") == expected
