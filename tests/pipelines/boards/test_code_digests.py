"""Code digests for DVC: one for each board and method, and for each data set."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.boards.code_digests import (
    DATA,
    FILE,
    code_digests,
    require_code_digests,
    write_code_digests,
)
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.records.digest import joint_digest, kind_of


def test_each_method_of_a_board_has_the_joint_digest_of_its_cells(params: Params) -> None:
    found = code_digests(params)
    assert set(found) == {DATA, *params.boards}
    for board in ("embedded", "post-training"):
        bare = {name.partition(":")[0] for name in params.board(board).methods}
        others = (
            {"dpap-compete", "dpap-trophic", "dpap-trophic-st"} if board == "embedded" else set()
        )
        assert set(found[board]) == bare | others
        cells = params.cells(board, admit=False)
        kinds = {kind_of(cell) for cell in cells if cell.method == "magnitude"}
        assert kinds
        assert joint_digest(kinds).startswith(found[board]["magnitude"])


def test_data_sets_with_readers_of_their_own_differ(params: Params) -> None:
    found = code_digests(params)[DATA]
    assert len({found["digits"], found["mnist"], found["cifar-10"]}) == 3


def test_the_file_is_written_once_and_read_back(params: Params, tmp_path: Path) -> None:
    assert write_code_digests(tmp_path, params)
    assert not write_code_digests(tmp_path, params)
    require_code_digests(tmp_path, params)
    assert yaml.safe_load((tmp_path / FILE).read_text()) == code_digests(params)


@pytest.mark.parametrize("content", [None, "", "[1", "quick: {}", "\x00"])
def test_a_missing_or_old_file_is_refused(
    params: Params, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "results").mkdir()
        (tmp_path / FILE).write_text(content)
    with pytest.raises(BenchError, match=r"out of date for .*quick.* dpap-bench digest"):
        require_code_digests(tmp_path, params)
