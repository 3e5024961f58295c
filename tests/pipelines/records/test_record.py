"""RunSpec, RunRecord and the store: stable names, round trips, nothing trusted blindly."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.methods.registry import methods, source_files
from pipelines.records import digest as code
from pipelines.records.digest import code_digest, digest_files
from pipelines.records.record import SCHEMA_VERSION, RunRecord, read_record
from pipelines.records.store import Store
from pipelines.settings.network import Execution
from pipelines.settings.spec import RunSpec
from pipelines.training.environment import environment
from tests.helpers.paths import ROOT


def spec(params: Params, **changes: object) -> RunSpec:
    cell = params.spec("digits-snn", "magnitude", "structured", 0.25, 0)
    return replace(cell, **changes)


def record(cell: RunSpec, **changes: object) -> RunRecord:
    digest = code_digest(cell.method)
    fields = {
        "run_id": cell.run_id,
        "spec": cell,
        "status": "diverged",
        "message": "loss is nan",
        "budget": 10,
        "started_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "train_seconds": 1.0,
        "total_seconds": 2.0,
        "environment": environment(1, Execution()),
        "code_digest": digest,
        "code_digest_end": digest,
    }
    return RunRecord(**(fields | changes))


def test_run_id_is_stable(params: Params) -> None:
    """A changed run_id orphans every published record; change this only knowingly."""
    cell = params.spec("digits-ann", "dense", "none", 1.0, 0)
    assert cell.canonical() == (
        '{"density":1.0,"granularity":"none","method":"dense","seed":0,"settings":{"data":"digits",'
        '"network":{"kind":"ann","layout":"16C3-MP2-32C3-MP2-64FC"},"recipe":{"batch_size":64,'
        '"epochs":15,"learning_rate":0.004,"optimizer":"adamw","warmup":0.1,"weight_decay":0.001}},'
        '"workload":"digits-ann"}'
    )
    assert len(cell.run_id) == 16


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"options": {"settings": 0, 'a"settings":0': {"settings": [0, "é"]}}},
        {"variant": '"settings":0,', "twin_of": '"settings":', "workload": 'w"settings":0'},
        {"control": "reinit", "threads": 2, "tuning": True},
    ],
)
def test_the_canonical_form_is_that_of_the_whole_spec(
    params: Params, changes: dict[str, object]
) -> None:
    one = spec(params, **changes)
    whole = {"density", "granularity", "method", "options", "seed", "workload"} | changes.keys()
    fields = {name: getattr(one, name) for name in whole}
    fields["settings"] = one.settings.model_dump(mode="json", exclude_defaults=True)
    if not fields["options"]:
        del fields["options"]
    assert one.canonical() == json.dumps(fields, sort_keys=True, separators=(",", ":"))


def test_every_field_changes_the_run_id(params: Params) -> None:
    base = spec(params)
    changes: list[dict[str, object]] = [
        {"seed": 1},
        {"density": 0.5},
        {"granularity": "unstructured"},
        {"method": "random"},
        {"track": "post-training"},
        {"tuning": True},
        {"threads": 2},
        {"device": "cuda"},
        {"options": {"p": 1}},
        {"workload": "other"},
        {"settings": params.workloads["digits-ann"]},
    ]
    ids = {spec(params, **change).run_id for change in changes}
    assert len(ids | {base.run_id}) == len(changes) + 1


def test_defaults_do_not_change_the_run_id(params: Params) -> None:
    base = spec(params)
    assert spec(params, track="from-scratch", threads=1).run_id == base.run_id


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(), min_size=2))
def test_order_of_options_does_not_change_the_run_id(options: dict[str, int]) -> None:
    from pipelines.boards.params import load_params

    params = load_params(ROOT)
    backwards = dict(reversed(options.items()))
    assert spec(params, options=options).run_id == spec(params, options=backwards).run_id


def test_round_trip(params: Params, tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = record(spec(params))
    path = store.write(one)
    assert path == tmp_path / "digits-snn" / "magnitude" / f"{one.run_id}.json"
    assert read_record(path) == one
    assert store.find(one.spec) == one
    assert [r for _, r in store.records()] == [one]
    text = path.read_text()
    store.write(read_record(path))
    assert path.read_text() == text, "writing again changes no byte"


def test_figures_are_written_as_they_are_read(params: Params, tmp_path: Path) -> None:
    one = replace(record(spec(params)), train_seconds=1, total_seconds=np.float64(2.5))
    path = Store(tmp_path).write(one)
    assert '"train_seconds": 1.0' in path.read_text(), "a whole number of seconds is no integer"
    assert read_record(path).to_json() == one.to_json()
    for wrong in ({"train_seconds": "1"}, {"budget": 1.5}, {"status": "fine"}, {"spec": None}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            replace(one, **wrong).to_json()


def test_cells_share_what_they_have_in_common(params: Params, tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in range(3):
        store.write(record(spec(params, seed=seed)))
    one, *others = (found for _, found in store.records())
    for other in others:
        assert other.spec.settings is one.spec.settings
        assert other.environment is one.environment


def test_valid_means_a_new_run_would_only_repeat(params: Params, tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = spec(params)
    assert store.valid(cell) is None
    assert store.missing([cell]) == [cell]
    store.write(record(cell))
    assert store.valid(cell) is not None
    for stale in ({"code_digest": "0"}, {"code_digest_end": "0"}, {"status": "failed"}):
        store.write(record(cell, **stale))
        assert store.valid(cell) is None, stale


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "update dpap-bench"),
        ({"run_id": "0" * 16}, "was edited"),
        ({"budget": "much"}, "budget"),
        ({"unknown": 1}, "unknown"),
        ({"environment": {"python": 3}}, r"environment\.python: Input should be a valid string"),
        ({"train_seconds": math.nan}, "is no record .NaN is no number"),
    ],
)
def test_bad_records_say_why(
    params: Params, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(json.loads(record(spec(params)).to_json()) | change))
    with pytest.raises(BenchError, match=reason):
        read_record(path)


def test_a_cell_finds_its_own_record_alone(params: Params, tmp_path: Path) -> None:
    store, cell = Store(tmp_path), spec(params)
    other = replace(cell, seed=cell.seed + 1)
    fields = json.loads(record(cell).to_json())
    path = store.path(cell)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(fields | {"run_id": "0" * 16}))
    with pytest.raises(BenchError, match="was edited"):
        store.find(cell)
    edited = fields["spec"] | {"seed": other.seed}
    path.write_text(json.dumps(fields | {"spec": edited}))
    with pytest.raises(BenchError, match="was edited"):
        store.find(cell)
    path.write_text(record(other).to_json())
    with pytest.raises(BenchError, match=f"another cell .* seed {other.seed}.*{other.run_id}"):
        store.find(cell)
    path.write_text(record(cell).to_json())
    assert store.find(cell) == record(cell)


def test_records_come_folder_by_folder(tmp_path: Path, params: Params) -> None:
    store = Store(tmp_path / "records")
    specs = [replace(spec(params), seed=n, workload=w) for n in range(9) for w in "ba"]
    paths = [store.write(record(one)) for one in specs]
    (store.root / "a" / "notes.txt").write_text("no record")
    assert [path for path, _ in store.records()] == sorted(paths)
    assert list(Store(tmp_path / "nothing").records()) == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": NaN}'])
def test_garbage_is_no_record(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(BenchError, match="record"):
        read_record(path)


def test_code_in_c_counts_with_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(code, "digest_files", lambda files: seen.extend(f.name for f in files))
    code_digest("magnitude")
    compiled = {"norm_scan.c", "grey_convolution.c", "spike_convolution.c", "winograd.c"}
    compiled |= {"spike_convolution.c", "moments.h", "vectors.h"}
    assert compiled | {"trainer.py"} <= set(seen)


def test_digest_sees_every_byte(tmp_path: Path) -> None:
    one, two = tmp_path / "a.py", tmp_path / "b.py"
    one.write_text("x = 1\n")
    two.write_text("")
    before = digest_files([one, two])
    assert digest_files([two, one]) == before
    one.write_text("x = 2\n")
    assert digest_files([one, two]) != before
    one.write_bytes(b"x = 1\r\n")
    assert digest_files([one, two]) == before, "line ends do not count"


def test_each_method_depends_on_its_own_files() -> None:
    shared = {file.name for file in (ROOT / "baselines" / "shared").glob("*.py")}
    for name in methods():
        own = {file.name for file in source_files(name)}
        assert own
        assert not own & (shared - {"__init__.py"})
    assert {file.name for file in source_files("dpap")} >= {"pruner.py", "survival.py"}
