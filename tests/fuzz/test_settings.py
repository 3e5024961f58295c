"""Damaged params.yaml and methods.yaml: each is refused in one sentence, or gives cells."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from pipelines.boards.params import load_params
from pipelines.common.errors import BenchError
from pipelines.records.store import Store
from tests.helpers.fuzzing import damaged, fuzz, fuzz_long, odd_documents
from tests.helpers.paths import ROOT

PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
SMALL = {
    "boards": {"quick": PARAMS["boards"]["quick"] | {"seeds": [0, 1]}},
    "compute": PARAMS["compute"],
    "workloads": {name: PARAMS["workloads"][name] for name in ("digits-snn", "fashion-dvs")},
    "tuning": PARAMS["tuning"],
    "variants": PARAMS["variants"],
}
ENTRIES: dict[str, Any] = yaml.safe_load((ROOT / "methods.yaml").read_text())
FEW = {name: ENTRIES[name] for name in ("admm", "dense", "dpap", "lamp", "magnitude", "random")}


def as_yaml(document: Any) -> bytes:
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return text.encode("utf-8", "surrogatepass")


def texts(document: Any) -> st.SearchStrategy[bytes]:
    """Half of the files are as they should be, so that the other one is read."""
    changed = damaged(as_yaml(document)) | odd_documents(document).map(as_yaml)
    return st.just(as_yaml(document)) | changed


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


def use(params: bytes, methods: bytes, here: Path) -> None:
    """Read both files, and build the cells of all boards."""
    (here / "params.yaml").write_bytes(params)
    (here / "methods.yaml").write_bytes(methods)
    with suppress(BenchError):
        found = load_params(here)
        for board in found.boards:
            store = Store(here / "results" / "boards" / "quick" / "records")
            for cell in found.cells(board):
                path = store.path(cell)
                assert ".." not in path.parts
                assert path.is_relative_to(store.root)
                assert len(cell.run_id) == 16


@fuzz(params=texts(SMALL), methods=texts(FEW))
def test_damaged_settings_are_refused_or_read(here: Path, params: bytes, methods: bytes) -> None:
    use(params, methods, here)


@fuzz_long(params=texts(SMALL), methods=texts(FEW))
def test_many_damaged_settings(here: Path, params: bytes, methods: bytes) -> None:
    use(params, methods, here)
