"""The origin of a page: environments and code of its records, and the citation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.records.record import RunRecord

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Origin:
    """The environments and the code that made the records of a board.

    Parameters
    ----------
    newest
        Day of the newest record, UTC; empty if no record says when it was made. The page has no
        other date, so a rebuild changes nothing.
    rules
        Version of the rules of the comparison.
    environments
        Description of each environment, and its number of runs.
    digests
        First twelve digits of the code digest, and the methods whose runs have it. The digest
        covers the method's own files, so methods differ.
    """

    newest: str
    rules: int
    environments: tuple[tuple[str, int], ...]
    digests: tuple[tuple[str, tuple[str, ...]], ...]


def make_origin(records: Sequence[RunRecord]) -> Origin:
    """Collect the origin from the records."""
    environments = Counter(_environment(record) for record in records)
    digests: dict[str, set[str]] = defaultdict(set)
    for record in records:
        digests[record.code_digest[:12]].add(record.spec.method)
    days = [record.started_at for record in records if record.started_at]
    return Origin(
        newest=f"{max(days):%Y-%m-%d}" if days else "",
        rules=records[0].rules_version,
        environments=tuple(sorted(environments.items())),
        digests=tuple(sorted((digest, tuple(sorted(own))) for digest, own in digests.items())),
    )


def _environment(record: RunRecord) -> str:
    found = record.environment
    if found is None:
        return "an unknown environment, because the files of times and environment are missing"
    threads = f"{found.threads} thread" + ("s" if found.threads > 1 else "")
    capability = f" ({found.capability})" if found.capability else ""
    return (
        f"{found.processor}{capability}, {found.device}, {threads}, {found.platform}, "
        f"Python {found.python}, torch {found.torch}, snnTorch {found.snntorch}, "
        f"torch-pruning {found.torch_pruning}"
    )


@dataclass(frozen=True)
class Citation:
    """The citation in CITATION.cff of the project.

    Parameters
    ----------
    message
        What to cite.
    bibtex
        BibTeX entry of the board.
    references
        Papers to cite too, each with its address.
    """

    message: str
    bibtex: str
    references: tuple[tuple[str, str], ...]


def read_citation(board: str, newest: str) -> Citation | None:
    """Read CITATION.cff; None if the project has none."""
    path = _ROOT / "CITATION.cff"
    if not path.is_file():
        return None
    found = yaml.safe_load(path.read_text())
    authors = " and ".join(f"{{{author['name']}}}" for author in found["authors"])
    entry = {
        "title": f"{{{found['title']}}}",
        "author": authors,
        "version": found["version"],
        **({"year": newest[:4]} if newest else {}),
        "note": f"Board {board}" + (f", newest run {newest}" if newest else ""),
    }
    fields = ",\n".join(f"  {key:7} = {{{value}}}" for key, value in entry.items())
    return Citation(
        message=found["message"],
        bibtex=f"@software{{dpap_bench,\n{fields}\n}}",
        references=tuple(_reference(one) for one in found["references"]),
    )


def _reference(paper: dict[str, Any]) -> tuple[str, str]:
    names = ", ".join(f"{a['given-names']} {a['family-names']}" for a in paper["authors"])
    place = f"{paper['journal']} {paper['volume']}({paper['issue']})"
    pages = f"{paper['start']}\u2013{paper['end']}"
    text = f"{names}: {paper['title']}. {place}:{pages}, {paper['year']}."
    return text, f"https://doi.org/{paper['doi']}"
