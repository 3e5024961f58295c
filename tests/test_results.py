"""The records in git: sealed, without fault, and all of them there."""

from __future__ import annotations

from pathlib import Path

from pipelines import audit
from pipelines.core.record import read_record
from pipelines.grid import Params

TUNING = Path(__file__).parent.parent / "results" / "tuning"


def test_no_record_is_edited_removed_or_added() -> None:
    """After `dpap-bench tune`: dpap-bench verify results/tuning --any-code --no-rerun --seal."""
    assert (TUNING / audit.SEAL).is_file(), "results/tuning is not sealed"
    faults = [f"{path.name} {sentence}" for path, sentence in audit.faults(TUNING, any_code=True)]
    assert not faults, "\n".join(faults)


def test_no_trial_has_seen_a_board(params: Params) -> None:
    """Trials have seeds that no board has, and never opened the test split."""
    seeds = {seed for board in params.boards.values() for seed in board.seeds}
    files = sorted(TUNING.rglob("*.json"))
    assert len(files) > 100
    for path in files:
        record = read_record(path)
        assert record.spec.tuning, f"{path.name} is no trial"
        assert record.spec.seed not in seeds, f"{path.name} has a seed of a board"
        assert record.outcome is None or record.outcome.test_accuracy is None, path.name
