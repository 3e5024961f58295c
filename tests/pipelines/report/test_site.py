"""The site: complete, the same bytes from the same records, and the old one stays if it stops."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.boards.coverage import Coverage, coverage
from pipelines.boards.params import Params, load_params
from pipelines.common.errors import BenchError, InputError
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.report import site
from pipelines.report.analysis.board_records import collect
from tests.helpers.handmade import record
from tests.helpers.paths import ROOT
from tests.helpers.projects import write_params
from tests.pipelines.cli.test_main import call

BOARDS = {
    "small": {
        "workloads": ["digits-snn"],
        "baselines": ["dense", "magnitude"],
        "granularities": ["none", "unstructured"],
        "densities": [0.5],
        "seeds": [0, 1],
    },
    "other": {"workloads": ["digits-ann"], "baselines": ["dense", "random"], "seeds": [0]},
}


@pytest.fixture
def params(project: Path) -> Params:
    """Two small boards, written into the project."""
    fields = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"boards": BOARDS}
    write_params(project, fields)
    return load_params(project)


@pytest.fixture
def store(params: Params, project: Path) -> Store:
    """All records of the first board; the second has one cell, and no record."""
    made = Store(project / "results" / "boards" / "small" / "records")
    for cell in params.cells("small"):
        made.write(record(params, cell.method, cell.seed, 0.9, granularity=cell.granularity))
    return made


class _Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.found += [value for name, value in attributes if name in ("href", "src")]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_site_is_whole_and_the_same_bytes(params: Params, store: Store, project: Path) -> None:
    to = project / "site"
    assert site.write_site(params, ["small"], project, to) == 4
    made = contents(to)
    pages = ["boards.json", "index.html", "SHA256SUMS"]
    board = [f"small/leaderboard.{ending}" for ending in ("csv", "html", "json", "md")]
    figures = [f"small/figures/digits-snn-accuracy-density.{ending}" for ending in ("png", "svg")]
    assert {*pages, *board, *figures} <= {*made}
    links = _Links(made["index.html"].decode()).found
    local = [link for link in links if not link.startswith("#")]
    assert {*board, figures[1], "SHA256SUMS", "boards.json"} <= {*local}
    assert all(link in made for link in local), "every link leads to a file of the site"
    assert str(project).encode() not in b"".join(made.values())
    (entry,) = json.loads(made["boards.json"])
    assert (entry["name"], entry["records"], entry["ok"], entry["methods"]) == ("small", 4, 4, 2)
    results = project / "results" / "boards"
    done = subprocess.run(["sha256sum", "-c", to / "SHA256SUMS"], cwd=results, check=False)
    assert done.returncode == 0, "the seal is one that sha256sum checks"
    assert site.write_site(params, ["small"], project, project / "again") == 4
    assert contents(project / "again") == made
    assert site.write_site(params, ["small"], project, to) == 4, "a site is replaced"
    assert contents(to) == made
    assert not [path.name for path in project.iterdir() if path.name.startswith(".")]


def test_names_are_escaped(params: Params, store: Store, project: Path) -> None:
    boards = {"<b>&": params.board("small")}
    store.root.parent.rename(project / "results" / "boards" / "<b>&")
    site.write_site(params.model_copy(update={"boards": boards}), ["<b>&"], project, project / "s")
    assert "<b>&" not in re.sub(r"<b>\d+</b>", "", (project / "s" / "index.html").read_text())


@pytest.mark.parametrize("when", ["build", "version", "checksums"])
def test_the_old_site_stays_if_it_stops(
    params: Params, store: Store, project: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    to = project / "site"
    site.write_site(params, ["small"], project, to)
    before = contents(to)

    def stop(*_: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(site, when, stop)
        with pytest.raises(KeyboardInterrupt):
            site.write_site(params, ["small"], project, to)
    assert contents(to) == before
    assert not [path.name for path in project.iterdir() if path.name.startswith(".")]


def test_a_site_that_was_moved_aside_comes_back(
    params: Params, store: Store, project: Path
) -> None:
    to = project / "site"
    site.write_site(params, ["small"], project, to)
    before = contents(to)
    to.rename(project / ".site.old")  # as if killed in the moment between two renames
    with pytest.raises(BenchError, match="runs have no record"):
        site.write_site(params, ["other"], project, to)
    assert contents(to) == before
    assert not (project / ".site.old").exists()


def test_a_folder_with_something_else_is_left_alone(
    params: Params, store: Store, project: Path
) -> None:
    (project / "home").mkdir()
    (project / "home" / "thesis.tex").write_text("ten years")
    (project / "file").write_text("x")
    for name in ("home", "file"):
        with pytest.raises(InputError, match="contains something other than a site"):
            site.write_site(params, ["small"], project, project / name)
    assert (project / "home" / "thesis.tex").read_text() == "ten years"
    (project / "empty").mkdir()
    assert site.write_site(params, ["small"], project, project / "empty") == 4


@pytest.fixture
def quick_build(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages need seconds; what the command does needs none of them."""

    def build(
        params: Params, board: str, store: Store, results: Path, published: Path, *, partial: bool
    ) -> tuple[list[RunRecord], Coverage]:
        del published
        records = collect(params.everything(board, store), store, partial=partial)
        results.mkdir(parents=True)
        (results / "leaderboard.html").write_text(board)
        return records, coverage(params, board, {one.run_id: one for one in records})

    with monkeypatch.context() as patch:
        patch.setattr(site, "build", build)
        yield


@pytest.mark.usefixtures("quick_build")
def test_the_command(
    params: Params,
    store: Store,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "publish", "--to", "site") == 0
    out, err = capsys.readouterr()
    assert out == "small: 4 records, site/index.html\n"
    assert "other is left out: 1 of 1 runs have no record (first: digits-ann dense" in err
    assert (project / "site" / "small" / "leaderboard.html").read_text() == "small"
    before = contents(project / "site")
    assert call(monkeypatch, "publish", "--to", "site", "--board", "other") == 1
    err = capsys.readouterr().err
    assert "1 of 1 runs have no record" in err
    assert err.count("\n") == 1
    assert call(monkeypatch, "publish", "--to", "site", "--board", "othr") == 2
    assert "did you mean 'other'?" in capsys.readouterr().err
    assert contents(project / "site") == before
    store.path(params.cells("small")[0]).unlink()
    assert call(monkeypatch, "publish", "--to", "site") == 1
    assert "no board has all its records" in capsys.readouterr().err
    assert contents(project / "site") == before
    assert call(monkeypatch, "publish", "--to", "site", "--partial") == 0
    out, err = capsys.readouterr()
    assert out == "small: 3 records, site/index.html\n"
    assert err == "other is left out: no run has a record.\n"
    (entry,) = json.loads((project / "site" / "boards.json").read_text())
    assert entry["missing"] == "1 of 4 runs is missing"
    assert "Partial board: 1 of 4 runs is missing." in (project / "site" / "index.html").read_text()
    before = contents(project / "site")
    for path in (project / "results" / "boards").rglob("*.json"):
        path.unlink()
    assert call(monkeypatch, "publish", "--to", "site", "--partial") == 1
    assert "no board has any record" in capsys.readouterr().err
    assert contents(project / "site") == before


def test_a_site_opens_on_a_board_and_holds_the_documentation(
    params: Params, store: Store, project: Path
) -> None:
    docs = project / "docs"
    (docs / ".doctrees").mkdir(parents=True)
    (docs / ".doctrees" / "index.doctree").write_text("not for readers")
    (docs / "index.html").write_text("<p>Documentation</p>")
    to = project / "site"
    site.write_site(params, ["small"], project, to, site.Entrance("small", docs))
    made = contents(to)
    index = made["index.html"].decode()
    assert 'http-equiv="refresh" content="0; url=small/leaderboard.html"' in index
    assert {"small/leaderboard.html", "overview.html", "docs/index.html"} == {*_Links(index).found}
    assert "docs/index.html" in _Links(made["overview.html"].decode()).found
    board = _Links(made["small/leaderboard.html"].decode()).found
    assert {"../overview.html", "../docs/index.html"} <= {*board}
    assert made["docs/index.html"] == b"<p>Documentation</p>"
    assert not [name for name in made if "doctree" in name]


def test_without_a_home_the_pages_lead_to_the_overview(
    params: Params, store: Store, project: Path
) -> None:
    site.write_site(params, ["small"], project, project / "site")
    made = contents(project / "site")
    assert "../index.html" in _Links(made["small/leaderboard.html"].decode()).found
    assert "overview.html" not in made


def test_a_folder_without_documentation_is_refused(
    params: Params, store: Store, project: Path
) -> None:
    with pytest.raises(InputError, match="holds no documentation; run: make docs"):
        site.write_site(params, ["small"], project, project / "s", site.Entrance("", project))


def test_the_command_opens_on_the_first_board_that_the_site_has(
    params: Params,
    store: Store,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("publish", "--to", "site", "--home", "other", "--home", "small")
    assert call(monkeypatch, *arguments) == 0
    assert "url=small/leaderboard.html" in (project / "site" / "index.html").read_text()
    assert call(monkeypatch, "publish", "--to", "site", "--home", "moon") != 0
    assert "unknown board 'moon'" in capsys.readouterr().err
