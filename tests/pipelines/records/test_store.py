"""The store: where records are, which are valid, and which cells must be run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.records.files import read_record
from pipelines.records.store import Store
from tests.helpers.diverged import digits_cell, diverged_record


def test_a_record_is_found_where_it_was_written(params: Params, tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = diverged_record(digits_cell(params))
    path = store.write(record)
    assert path == tmp_path / "digits-snn" / "magnitude" / f"{record.run_id}.json"
    assert store.find(record.spec) == record
    assert [found for _, found in store.records()] == [record]
    text = path.read_text()
    store.write(read_record(path))
    assert path.read_text() == text, "writing again changes no byte"


def test_records_share_equal_settings_and_environments(params: Params, tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in range(3):
        store.write(diverged_record(digits_cell(params, seed=seed)))
    first, *others = (record for _, record in store.records())
    for other in others:
        assert other.spec.settings is first.spec.settings
        assert other.environment is first.environment


def test_a_record_of_other_code_or_of_a_failure_is_not_valid(
    params: Params, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    spec = digits_cell(params)
    assert store.valid(spec) is None
    assert store.missing([spec]) == [spec]
    store.write(diverged_record(spec))
    assert store.valid(spec) is not None
    for stale in ({"code_digest": "0"}, {"code_digest_end": "0"}, {"status": "failed"}):
        store.write(diverged_record(spec, **stale))
        assert store.valid(spec) is None, stale


def test_the_record_of_another_cell_is_refused(params: Params, tmp_path: Path) -> None:
    store, spec = Store(tmp_path), digits_cell(params)
    other = replace(spec, seed=spec.seed + 1)
    fields = json.loads(diverged_record(spec).to_json())
    path = store.path(spec)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(fields | {"run_id": "0" * 16}))
    with pytest.raises(BenchError, match="was edited"):
        store.find(spec)
    edited = fields["spec"] | {"seed": other.seed}
    path.write_text(json.dumps(fields | {"spec": edited}))
    with pytest.raises(BenchError, match="was edited"):
        store.find(spec)
    path.write_text(diverged_record(other).to_json())
    with pytest.raises(BenchError, match=f"another cell .* seed {other.seed}.*{other.run_id}"):
        store.find(spec)
    path.write_text(diverged_record(spec).to_json())
    assert store.find(spec) == diverged_record(spec)


def test_records_are_sorted_by_folder_and_file(tmp_path: Path, params: Params) -> None:
    store = Store(tmp_path / "records")
    cell = digits_cell(params)
    specs = [
        replace(cell, seed=seed, workload=workload) for seed in range(9) for workload in ("b", "a")
    ]
    paths = [store.write(diverged_record(spec)) for spec in specs]
    (store.root / "a" / "notes.txt").write_text("not a record")
    assert [path for path, _ in store.records()] == sorted(paths)
    assert list(Store(tmp_path / "nothing").records()) == []


def test_only_valid_records_of_the_same_cell_are_adopted(params: Params, tmp_path: Path) -> None:
    """Other boards hold: a valid record, a stale one, a failed one, and one of another seed."""
    ours, first, second = (Store(tmp_path / name / "records") for name in ("ours", "one", "two"))
    valid, stale, failed, absent = (digits_cell(params, seed=seed) for seed in range(4))
    first.write(diverged_record(stale, code_digest="0"))
    first.write(diverged_record(failed, status="failed"))
    first.write(diverged_record(digits_cell(params, seed=4)))
    second.write(diverged_record(valid))
    asked = [valid, stale, failed, absent]
    assert ours.adopt(asked, [first, second]) == 1
    assert [record for _, record in ours.records()] == [diverged_record(valid)]
    assert ours.path(valid).read_bytes() == second.path(valid).read_bytes()
    assert ours.missing(asked) == [stale, failed, absent]


def test_a_stale_record_is_replaced_by_a_valid_one_of_a_later_store(
    params: Params, tmp_path: Path
) -> None:
    ours, first, second = (Store(tmp_path / name / "records") for name in ("ours", "one", "two"))
    spec = digits_cell(params)
    for store in (ours, first):
        store.write(diverged_record(spec, code_digest="0"))
    second.write(diverged_record(spec))
    assert ours.adopt([spec], [first, second]) == 1
    assert ours.valid(spec) == diverged_record(spec)
    assert first.valid(spec) is None, "the store that is copied from does not change"


def test_a_file_of_another_cell_is_not_adopted(params: Params, tmp_path: Path) -> None:
    ours, other = (Store(tmp_path / name / "records") for name in ("ours", "other"))
    spec = digits_cell(params)
    path = other.path(spec)
    path.parent.mkdir(parents=True)
    path.write_text(diverged_record(digits_cell(params, seed=7)).to_json())
    with pytest.raises(BenchError, match="another cell"):
        ours.adopt([spec], [other])
    assert list(ours.records()) == []
