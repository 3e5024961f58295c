"""The site: the page and downloads of each board, an overview, and the hashes of the records."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from pipelines.audit.seal import SEAL, checksums
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError, InputError
from pipelines.common.files import atomic_file
from pipelines.records.store import board_folder, board_store
from pipelines.report.analysis.board_records import collect
from pipelines.report.build import build
from pipelines.report.page.page import style_sheet, templates

#: Folder of the documentation in the site.
DOCS = "docs"
#: File of the overview, if the site opens on a board.
OVERVIEW = "overview.html"
#: Marks a folder as a site, which may be replaced; programs can read it.
MANIFEST = "boards.json"
_PAGE = "leaderboard.html"


@dataclass(frozen=True)
class _Entry:
    """A board in the overview; paths are relative to the overview."""

    name: str
    page: str
    downloads: tuple[str, ...]
    figures: tuple[str, ...]
    workloads: tuple[str, ...]
    methods: int
    seeds: int
    records: int
    ok: int
    missing: str


def presentable(params: Params, root: Path, *, partial: bool = False) -> Iterator[str]:
    """Boards that a site can show; prints to stderr why another board is left out.

    They are those whose cells all have records, and with `partial` those with any record.
    """
    for board in params.boards:
        store = board_store(root, board)
        try:
            if not collect(params.everything(board, store), store, partial=partial):
                raise BenchError("no run has a record.")
        except BenchError as error:
            print(f"{board} is left out: {error}", file=sys.stderr)
        else:
            yield board


@dataclass(frozen=True)
class Entrance:
    """What a visitor of the site sees beside the boards.

    Parameters
    ----------
    home
        The board that the site opens on; empty: it opens on the overview.
    docs
        Folder of the built documentation, which is copied; None: the site has none.
    partial
        Whether cells of the boards may have no record; pages and overview say how many have none.
    """

    home: str = ""
    docs: Path | None = None
    partial: bool = False

    @property
    def overview(self) -> str:
        """File of the overview."""
        return OVERVIEW if self.home else "index.html"


def write_site(
    params: Params,
    boards: Sequence[str],
    root: Path,
    to: Path,
    entrance: Entrance = Entrance(),
) -> int:
    """Write the site of some boards; the same records give the same bytes.

    The site is built in a temporary folder beside `to` and moved at the end, so an interrupted run
    keeps the old site.

    Parameters
    ----------
    params, root
        The boards, and the project's folder with their records.
    boards
        Names of the boards.
    to
        Folder; an existing site is replaced.
    entrance
        The first page, and the documentation.

    Returns
    -------
    int
        Number of records of the boards.

    Raises
    ------
    InputError
        If there is no such board or documentation, or the folder contains something other than a
        site.
    BenchError
        If cells of a board have no record, or the site cannot be written.
    """
    to = Path(os.path.realpath(to))  # Path.resolve raises an error for links in a circle
    if entrance.docs and not (entrance.docs / "index.html").is_file():
        raise InputError(f"{entrance.docs} holds no documentation; run: make docs")
    _recover(to)
    if to.exists() and not (to / MANIFEST).is_file() and (to.is_file() or any(to.iterdir())):
        raise InputError(
            f"{to} contains something other than a site; give a new or an empty folder."
        )
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as temporary:
            folder = Path(temporary) / "site"
            shown = _fill(params, boards, root, folder, entrance)
            _replace(to, folder)
    except OSError as error:
        raise BenchError(f"cannot write {to} ({error.strerror or error}).") from error
    return shown


def _fill(
    params: Params, boards: Sequence[str], root: Path, folder: Path, entrance: Entrance
) -> int:
    entries: list[_Entry] = []
    files: dict[str, Path] = {}
    for board in dict.fromkeys(boards):
        store = board_store(root, board)
        published = root / "results" / "published.yaml"
        records, covered = build(
            params, board, store, folder / board, published, partial=entrance.partial
        )
        _add_links(folder / board / _PAGE, entrance)
        paths = [store.path(record.spec) for record in records]
        files |= {
            path.relative_to(board_folder(root, board).parent).as_posix(): path for path in paths
        }
        entries.append(
            _Entry(
                name=board,
                page=f"{board}/{_PAGE}",
                downloads=_names(folder, f"{board}/leaderboard.*", _PAGE),
                figures=_names(folder, f"{board}/figures/*.svg"),
                workloads=params.board(board).workloads,
                methods=len({record.spec.name for record in records}),
                seeds=len({record.spec.seed for record in records}),
                records=len(records),
                ok=sum(record.status == "ok" for record in records),
                missing=covered.sentence,
            )
        )
    documents = {
        entrance.overview: _overview(entries, len(files), entrance),
        MANIFEST: json.dumps([asdict(entry) for entry in entries], indent=1) + "\n",
        SEAL: checksums(files),
    }
    if entrance.home:
        documents["index.html"] = _rendered("home.html.j2", entrance)
    if entrance.docs:
        ignored = shutil.ignore_patterns(".doctrees", ".buildinfo*")
        shutil.copytree(entrance.docs, folder / DOCS, ignore=ignored)
    for name, text in documents.items():
        with atomic_file(folder / name) as file:
            file.write(text.encode())
    return len(files)


def _names(folder: Path, pattern: str, but: str = "") -> tuple[str, ...]:
    found = sorted(path for path in folder.glob(pattern) if path.name != but)
    return tuple(path.relative_to(folder).as_posix() for path in found)


def _overview(entries: Sequence[_Entry], records: int, entrance: Entrance) -> str:
    return _rendered(
        "site.html.j2",
        entrance,
        entries=entries,
        records=records,
        seal=SEAL,
        version=version("dpap-bench"),
    )


def _rendered(template: str, entrance: Entrance, **values: object) -> str:
    """Render a page of the site that is no board."""
    return (
        templates()
        .get_template(template)
        .render(
            page=_PAGE,
            home=entrance.home,
            overview=entrance.overview,
            docs=f"{DOCS}/index.html" if entrance.docs else "",
            style=Markup(style_sheet()),  # noqa: S704 - our own text
            **values,
        )
    )


def _add_links(page: Path, entrance: Entrance) -> None:
    """Add links to the rest of the site to the page of a board."""
    links = {"All boards": entrance.overview}
    links |= {"Documentation": f"{DOCS}/index.html"} if entrance.docs else {}
    inner = " ".join(f'<a href="../{target}">{title}</a>' for title, target in links.items())
    text = page.read_text().replace(
        "<body>\n", f'<body>\n<nav aria-label="Site">{inner}</nav>\n', 1
    )
    with atomic_file(page) as file:
        file.write(text.encode())


def _old(to: Path) -> Path:
    """Folder of the old site while the new one is moved."""
    return to.with_name(f".{to.name}.old")


def _replace(to: Path, folder: Path) -> None:
    if to.exists():
        to.replace(_old(to))
    folder.replace(to)
    shutil.rmtree(_old(to), ignore_errors=True)


def _recover(to: Path) -> None:
    """Restore the old site if the program was killed while it moved the new one."""
    if _old(to).exists() and not to.exists():
        _old(to).replace(to)
    shutil.rmtree(_old(to), ignore_errors=True)
