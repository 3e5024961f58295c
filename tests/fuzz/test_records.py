"""Damaged records: each is refused in one sentence, or read; nothing else is raised."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from pipelines.audit.faults import faults
from pipelines.common.errors import BenchError
from pipelines.common.structs import checked
from pipelines.records.files import PROVENANCE, read_record, write_record
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.formats.markdown import to_markdown
from pipelines.report.tables.density import make_tables
from pipelines.report.tables.document import to_csv
from pipelines.settings.spec import RunSpec
from tests.helpers.fuzzing import as_bytes, damaged_json, fuzz, fuzz_long, odd_documents
from tests.helpers.paths import ROOT

VERSIONS = ROOT / "tests" / "pipelines" / "records" / "versions"
NEWEST = min((ROOT / "results" / "boards" / "quick" / "records" / "digits-snn").rglob("*.json"))
DOCUMENTS = [json.loads(path.read_text()) for path in (NEWEST, *sorted(VERSIONS.glob("*.json")))]
BESIDE = json.loads(NEWEST.with_suffix(PROVENANCE).read_text())


def renamed(document: Any) -> bytes:
    """Give a document the run_id of its spec, so that reading goes on behind that check."""
    with suppress(Exception):
        document["run_id"] = checked(RunSpec, document["spec"]).run_id
    return as_bytes(document)


contents = st.one_of(
    *map(damaged_json, DOCUMENTS),
    *(odd_documents(document).map(renamed) for document in DOCUMENTS for _ in range(2)),
)
provenances = st.just(as_bytes(BESIDE)) | damaged_json(BESIDE)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


def use(content: bytes, beside: bytes, here: Path) -> None:
    """Do with a record what verify, report and convert do."""
    folder = here / "records"
    shutil.rmtree(folder, ignore_errors=True)
    name = "0123456789abcdef"
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        found = json.loads(content)["run_id"]
        name = found if str(found).isalnum() else name
    path = folder / "digits-snn" / "dpap" / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    path.with_suffix(PROVENANCE).write_bytes(beside)
    for _, sentence in faults(folder, any_code=True):
        assert sentence
    try:
        record = read_record(path)
    except BenchError:
        return
    write_record(folder / "again.json", record)
    analysis = analyse(make_rows([record]))
    tables = make_tables(analysis.rows, analysis.standings)
    assert to_markdown("board", tables)
    assert to_csv(analysis.rows) if analysis.rows else True


@fuzz(content=contents, beside=provenances)
def test_a_damaged_record_is_refused_or_read(here: Path, content: bytes, beside: bytes) -> None:
    use(content, beside, here)


@fuzz_long(content=contents, beside=provenances)
def test_many_damaged_records(here: Path, content: bytes, beside: bytes) -> None:
    use(content, beside, here)
