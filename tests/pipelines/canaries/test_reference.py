"""Reference files: one for each environment, one line for each canary."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.canaries.outcomes import Result
from pipelines.canaries.reference import Place, here, path_of, read_references, write_reference
from pipelines.common.errors import BenchError
from pipelines.settings.rules import RULES_VERSION

PLACE = Place(processor="AMD EPYC (TM)", capability="AVX2", torch="2.13.0+cpu", threads=1)
RESULTS = {
    "lamp": Result("ok", 2.0, 0.5, 0.4, 10.0, "a-b"),
    "sca": Result("failed", *[None] * 4, "c"),
}


def test_the_name_of_an_environment_is_the_name_of_its_file(tmp_path: Path) -> None:
    assert PLACE.name == "amd-epyc-tm-avx2-torch-2.13.0-cpu-1-thread"
    assert path_of(tmp_path, PLACE) == tmp_path / "results" / "canaries" / f"{PLACE.name}.json"


def test_this_environment_can_be_a_reference(tmp_path: Path) -> None:
    write_reference(tmp_path, here(), 1, RESULTS)
    (found,) = read_references(tmp_path)
    assert found.environment == here()
    assert found.environment.torch == str(torch.__version__)
    assert found.environment.threads == 1


def test_a_file_is_written_and_read_again(tmp_path: Path) -> None:
    assert read_references(tmp_path) == []
    write_reference(tmp_path, PLACE, 2, RESULTS)
    (found,) = read_references(tmp_path)
    assert (found.rules, found.generation, found.environment) == (RULES_VERSION, 2, PLACE)
    assert found.canaries == RESULTS
    lines = path_of(tmp_path, PLACE).read_text().splitlines()
    assert '  "lamp": ["ok", 2.0, 0.5, 0.4, 10.0, "a-b"],' in lines


def test_a_file_of_other_rules_is_no_reference(tmp_path: Path) -> None:
    write_reference(tmp_path, PLACE, 2, RESULTS)
    path = path_of(tmp_path, PLACE)
    path.write_text(path.read_text().replace(f'"rules": {RULES_VERSION}', '"rules": 999'))
    assert read_references(tmp_path) == []


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    write_reference(tmp_path, PLACE, 2, RESULTS)
    path_of(tmp_path, PLACE).write_text("{}")
    with pytest.raises(BenchError, match=r"cannot be read .* git checkout"):
        read_references(tmp_path)
