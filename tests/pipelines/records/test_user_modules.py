"""The code of a factory belongs to the digest of its runs, and to no other digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.records.digest import code_digest, kind_of, parts_of
from pipelines.records.user_modules import UserModules
from tests.helpers.own_workloads import own_cell, own_workload


def read(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def test_a_factory_reaches_what_it_imports_of_its_project() -> None:
    spec = own_cell(own_workload(), "magnitude", "structured")
    parts = parts_of(kind_of(spec))
    assert {"tests/helpers/factories.py", "pipelines/networks/own.py"} <= set(parts)
    assert {"pipelines/data/own.py", "dpap/attachment/proof.py"} <= set(parts)
    assert not any(name.startswith(("numpy", "torch", "snntorch")) for name in parts)


def test_other_cells_do_not_depend_on_factories() -> None:
    settings = own_workload().model_copy(update={"data": "digits"})
    network = settings.network.model_copy(update={"factory": "", "layout": "4FC", "options": {}})
    spec = own_cell(settings.model_copy(update={"network": network}), "magnitude", "structured")
    names = set(parts_of(kind_of(spec)))
    assert not names & {"pipelines/networks/own.py", "pipelines/data/own.py"}
    assert not any("attachment" in name for name in names)


def test_modules_beside_the_factory_count_and_installed_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    (tmp_path / "mine" / "nets.py").write_text("import layers_of_mine")
    (tmp_path / "layers_of_mine.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = UserModules(["mine.nets:build"], read)
    label, file, package = found.find("mine.nets") or ("", Path(), "")
    assert (label, file, package) == ("mine/nets.py", tmp_path / "mine" / "nets.py", "mine")
    assert (found.find("layers_of_mine") or ("",))[0] == "layers_of_mine.py"
    assert found.find("torch") is None
    assert found.find("json") is None


def test_the_options_of_a_factory_are_in_the_run_and_its_code_is_in_the_digest() -> None:
    one = own_cell(own_workload("looped"), "dense", "none")
    other = own_cell(
        own_workload("artificial", network_fields={"kind": "ann", "time_steps": None}),
        "dense",
        "none",
    )
    assert one.run_id != other.run_id
    assert code_digest(one) == code_digest(own_cell(own_workload("looped"), "dense", "none"))
