"""The project's folder is found from any folder within it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.boards.params import load_params
from pipelines.boards.project import find_root
from pipelines.common.errors import BenchError, InputError


def test_the_nearest_folder_with_params_yaml_is_the_project(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    deep = inner / "results" / "boards"
    deep.mkdir(parents=True)
    for folder in (tmp_path / "outer", inner):
        (folder / "params.yaml").touch()
    assert find_root(deep) == find_root(inner) == inner
    assert find_root(inner.parent) == inner.parent


def test_what_cannot_be_read_is_found_and_its_reader_says_why(tmp_path: Path) -> None:
    (tmp_path / "methods.yaml").write_text("{}")
    path = tmp_path / "params.yaml"
    path.symlink_to(path)  # leads in a circle
    with pytest.raises(InputError, match=r"params\.yaml"):
        load_params(find_root(tmp_path))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="a folder, a pipe or a device"):
        load_params(find_root(tmp_path))


def test_outside_of_a_project_the_error_says_where_to_go(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()  # a folder of this name is no project
    with pytest.raises(BenchError, match="change into your clone of dpap-bench"):
        find_root(tmp_path)
