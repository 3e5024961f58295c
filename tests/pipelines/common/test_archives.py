"""Archives: the same files give the same bytes, and what an archive holds is not trusted."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.common import archives
from pipelines.common.errors import BenchError

FILES = {"SHA256SUMS": b"", "records/a/1.json": b"{}\n", "records/b/2.json": b"[1, 2]"}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "one", FILES)
    other = write(tmp_path / "other", dict(reversed(FILES.items())))
    os.utime(other / "SHA256SUMS", (0, 0))
    (other / "SHA256SUMS").chmod(0o755)
    archives.pack(one, tmp_path / "one.tar.gz")
    archives.pack(other, tmp_path / "another-name.tar.gz")
    packed = (tmp_path / "one.tar.gz").read_bytes()
    assert packed == (tmp_path / "another-name.tar.gz").read_bytes()
    archives.unpack(tmp_path / "one.tar.gz", tmp_path / "out")
    assert read(tmp_path / "out") == FILES


def test_zip_is_read_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.mkdir("records")
        for name, content in FILES.items():
            archive.writestr(name, content)
    archives.unpack(tmp_path / "x.zip", tmp_path / "out")
    assert read(tmp_path / "out") == FILES


def tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
    return made


def zip_(path: Path, name: str, mode: int = 0) -> Path:
    info = zipfile.ZipInfo(name)
    info.filename, info.external_attr = name, mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"elsewhere")
    return path


UNSAFE = ["/etc/x", "../x", "a/../../x", "a\\..\\x", "C:x", "", "x" * 256]


@pytest.mark.parametrize("name", UNSAFE)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    for path in (tar(tmp_path / "x.tar.gz", member(name)), zip_(tmp_path / "x.zip", name)):
        with pytest.raises(BenchError, match="do not trust it"):
            archives.unpack(path, tmp_path / "out")
    assert not read(tmp_path / "out")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tar(tmp_path / "x.tar.gz", member("link", kind, "../secret"), member("link/x"))
    with pytest.raises(BenchError, match="'link', which is not a file"):
        archives.unpack(path, tmp_path / "out")
    link = zip_(tmp_path / "x.zip", "link", stat.S_IFLNK | 0o777)
    with pytest.raises(BenchError, match="'link', which is not a file"):
        archives.unpack(link, tmp_path / "out")
    assert not read(tmp_path / "out")


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_a_path_that_is_there_twice_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    path = tar(tmp_path / "x.tar.gz", *(member(name) for name in names))
    with pytest.raises(BenchError, match="do not trust it"):
        archives.unpack(path, tmp_path / "out")


@pytest.mark.parametrize(("most", "written"), [({"most_bytes": 150}, 1), ({"most_files": 1}, 1)])
def test_a_file_beyond_a_limit_is_not_written(
    tmp_path: Path, most: dict[str, int], written: int
) -> None:
    files = {"a": bytes(100), "b": bytes(100)}
    archives.pack(write(tmp_path / "in", files), tmp_path / "x.tar.gz")
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    for kind in ("tar.gz", "zip"):
        with pytest.raises(BenchError, match=r"holds more than .* files or .* bytes"):
            archives.unpack(tmp_path / f"x.{kind}", tmp_path / kind, **most)
        assert len(read(tmp_path / kind)) == written
        archives.unpack(tmp_path / f"x.{kind}", tmp_path / "out" / kind, most_bytes=200)
        assert read(tmp_path / "out" / kind) == files


def test_folders_count_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in "abc":
            archive.mkdir(name)
    folders = [member(name, tarfile.DIRTYPE) for name in "abc"]
    for path in (tar(tmp_path / "x.tar.gz", *folders), tmp_path / "x.zip"):
        with pytest.raises(BenchError, match="more than 2 files and folders"):
            archives.unpack(path, tmp_path / "out", most_files=1)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_damage_is_told_and_no_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut short or altered, an archive is refused, or gives files that it held."""
    folder = tmp_path_factory.mktemp("damage")
    archives.pack(write(folder / "in", FILES), folder / "x.tar.gz")
    content = bytearray((folder / "x.tar.gz").read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    (folder / "x.tar.gz").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(BenchError):
        archives.unpack(folder / "x.tar.gz", folder / "out")
    assert {*read(folder)} <= {"x.tar.gz", *(f"{top}/{f}" for top in ("in", "out") for f in FILES)}


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"nonsense")
    for name, reason in (("x.tar.gz", "not a zip"), ("y.zip", "No such file"), ("", "directory")):
        with pytest.raises(
            BenchError, match=rf"as a .tar.gz or .zip archive \(.*{reason}.*\); get"
        ):
            archives.unpack(tmp_path / name, tmp_path / "out")


def test_a_file_larger_than_the_memory_of_a_reader_arrives(tmp_path: Path) -> None:
    content = b"".join(bytes([i % 251]) * 10_007 for i in range(500))  # 5 MB: several chunks
    archives.pack(write(tmp_path / "in", {"a/b": content, "c": b"c"}), tmp_path / "x.tar.gz")
    sizes = [(name, size) for name, size, _ in archives.members(tmp_path / "x.tar.gz")]
    assert sizes == [("a/b", len(content)), ("c", 1)], "contents need not be read"
    archives.unpack(tmp_path / "x.tar.gz", tmp_path / "out")
    assert read(tmp_path / "out") == {"a/b": content, "c": b"c"}


def test_attribute_files_of_macos_are_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.mkdir("a")
        for name in ("a/b", "__MACOSX/a/._b"):
            archive.writestr(name, name)
    archives.unpack(tmp_path / "x.zip", tmp_path / "out")
    assert read(tmp_path / "out") == {"a/b": b"a/b"}
    with archives.open_zip(tmp_path / "x.zip") as opened:
        assert archives.zip_names(opened) == ["a/b"]


def test_archives_are_unpacked_together_or_not_at_all(tmp_path: Path) -> None:
    inner = zip_(tmp_path / "inner.zip", "b").read_bytes()
    for name, files in (("x", {"a/inner.zip": inner}), ("y", {"c": b"c"}), ("z", {"c": b"d"})):
        archives.pack(write(tmp_path / "in" / name, files), tmp_path / f"{name}.tar.gz")
    paths = [tmp_path / f"{name}.tar.gz" for name in "xyz"]
    before = read(tmp_path)
    with pytest.raises(BenchError, match="'c' twice"):
        archives.unpack_together(paths, tmp_path / "out", most_bytes=1 << 20)
    assert read(tmp_path) == before
    archives.unpack_together(paths[:2], tmp_path / "out", most_bytes=1 << 20)
    assert read(tmp_path / "out") == {"a/b": b"elsewhere", "c": b"c"}
