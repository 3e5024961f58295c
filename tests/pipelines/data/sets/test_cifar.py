"""CIFAR: archives that are damaged, wrong inside or hostile."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.errors import BenchError
from pipelines.data import load_training
from tests.helpers.image_files import CIFAR, cifar_members, lay, made, packed, put


@pytest.mark.parametrize("name", CIFAR)
def test_the_archive_of_pickles_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    lay(name, tmp_path / "source", monkeypatch)
    trap = pickle.dumps(Trap())
    folder = tmp_path / "data" / name
    put(name, folder, packed({"cifar-10-batches-py/data_batch_1": trap}), monkeypatch)
    with pytest.raises(BenchError, match="another archive, perhaps that of the pickles: put cifar"):
        load_training(name, tmp_path / "data")
    put(name, folder, packed(dict.fromkeys(made(name).members["training"], trap)), monkeypatch)
    with pytest.raises(BenchError, match=f"bytes, which are not records of .*fetch {name}"):
        load_training(name, tmp_path / "data")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", CIFAR)
def test_archives_that_are_wrong_inside(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(name, tmp_path / "source", monkeypatch)
    members = cifar_members(name)
    last = made(name).members["training"][-1]
    lacking = {member: content for member, content in members.items() if member != last}
    foreign = bytearray(members[last])
    foreign[made(name).label_bytes - 1] = made(name).classes
    whole = packed(members)
    width = made(name).label_bytes + 3072
    tar = gzip.decompress(whole)
    end = tar.index(members[last]) + 2 * width  # after two whole records
    for archive, reason in [
        (packed(lacking), f"has no {last}"),
        (packed(members | {last: members[last][:-1]}), "which are not records"),
        (packed(members | {last: b""}), "has 0 bytes"),
        (
            packed(members | {last: bytes(foreign)}),
            f"training label {made(name).classes}, but {name}",
        ),
        (whole[: len(whole) // 2], "cannot read .* as a .tar.gz or .zip archive"),
        (gzip.compress(tar[:end]), "cannot read .* as a .tar.gz or .zip archive"),
        (tar, "cannot read .* as a .tar.gz or .zip archive"),
        (b"<html>moved</html>", "cannot read .* as a .tar.gz or .zip archive"),
        (b"", "cannot read .* as a .tar.gz or .zip archive"),
    ]:
        put(name, tmp_path / "data" / name, archive, monkeypatch)
        with pytest.raises(BenchError, match=reason) as caught:
            load_training(name, tmp_path / "data")
        assert any(word in str(caught.value) for word in ("fetch", "put", "get it again")), (
            "what to do"
        )


def test_a_link_in_the_archive_is_no_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay("cifar-100", tmp_path / "source", monkeypatch)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(3074))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo(made("cifar-100").members["training"][0])
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    put("cifar-100", tmp_path / "data" / "cifar-100", buffer.getvalue(), monkeypatch)
    with pytest.raises(BenchError, match="which is not a file"):
        load_training("cifar-100", tmp_path / "data")
