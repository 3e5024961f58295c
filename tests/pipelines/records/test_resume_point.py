"""The file of a resume point: written whole, and read only by the run that it belongs to."""

from __future__ import annotations

from pathlib import Path

import torch

from pipelines.records.resume_point import read_resume_point, write_resume_point
from pipelines.records.stored_values import pack, unpack

RUN = {"run_id": "a", "code_digest": "b"}


def test_a_resume_point_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "point.safetensors"
    for values in ([torch.arange(3), torch.zeros(0), 0.1], {"no": "tensor"}):
        write_resume_point(path, RUN, pack(values, {}))
        found = read_resume_point(path, RUN)
        assert found is not None
        assert str(unpack(found, {})) == str(values)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_no_other_run_and_no_damaged_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "point.safetensors"
    assert read_resume_point(path, RUN) is None
    write_resume_point(path, RUN, pack([torch.arange(3)], {}))
    good = path.read_bytes()
    assert read_resume_point(path, RUN | {"code_digest": "c"}) is None
    for bad in (good[:-9], good[:-1] + bytes([good[-1] ^ 1]), good.replace(b'"a"', b'"A"'), b""):
        path.write_bytes(bad)
        assert read_resume_point(path, RUN) is None
