"""A cell has one owner; a claim without a heartbeat, or of a process that is gone, is void."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.common.errors import BenchError
from pipelines.engines.claims import VOID_AFTER, Claims


def test_a_cell_has_one_owner_until_it_is_released(tmp_path: Path) -> None:
    with Claims(tmp_path / "claims") as one, Claims(tmp_path / "claims") as two:
        assert one.take("a")
        assert not two.take("a")
        assert two.take("b")
        one.release("a")
        assert two.take("a")
        one.release("a")  # it is another's now
        assert not one.take("a")
    assert [path.name for path in (tmp_path / "claims").iterdir()] == [".lock"]


def test_a_claim_without_a_heartbeat_is_void(tmp_path: Path) -> None:
    with Claims(tmp_path) as one, Claims(tmp_path) as two:
        one.take("a")
        old = (tmp_path / "a").stat().st_mtime - VOID_AFTER - 1
        os.utime(tmp_path / "a", (old, old))
        one.beat()
        assert not two.take("a")
        os.utime(tmp_path / "a", (old, old))
        assert two.take("a")
        os.utime(tmp_path / "a", (old, old))
        one.beat()  # does not renew the claim of another sweep
        assert (tmp_path / "a").stat().st_mtime == pytest.approx(old)


def test_the_claim_of_a_process_that_was_killed_is_void(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pipelines.engines.claims import Claims;"
        "claims = Claims(Path(sys.argv[1])).__enter__(); claims.take('a'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert (tmp_path / "a").exists()
    with Claims(tmp_path) as claims:
        assert claims.take("a")


def test_half_of_a_claim_is_void(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("machine")
    (tmp_path / "b").write_bytes(b"\xff no text")
    with Claims(tmp_path) as claims:
        assert claims.take("a")
        assert claims.take("b")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(BenchError, match=r"cannot write .*claims"),
        Claims(tmp_path / "file/claims"),
    ):
        pass


def test_a_claim_that_cannot_be_written_is_named_and_one_that_cannot_be_deleted_does_no_harm(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "claims"
    with Claims(folder) as claims:
        (folder / "b").mkdir()
        with pytest.raises(BenchError, match=r"cannot write .*claims"):
            claims.take("b")
        assert claims.take("a")
        shutil.rmtree(folder)
        folder.touch()
    assert not claims.held
