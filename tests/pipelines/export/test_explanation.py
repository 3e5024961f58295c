"""The explanation of a run: a second run that is the same, and removals worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.common.errors import InputError
from pipelines.export.explanation import explain, explanation_text, moments_of
from pipelines.export.removal import spearman
from pipelines.records.record import RunRecord
from tests.pipelines.cli.test_main import call


def test_scores_are_compared_with_removals_and_the_run_is_the_same(
    home: Path, made: dict[str, RunRecord]
) -> None:
    record = made["residual"]
    found = explain(home, record)
    assert found.faults == (), "the second run is equal, although units were removed in between"
    moments = moments_of(record)
    assert [removal.progress for removal in found.removals] == list(moments)
    groups = set(found.removals[0].correlations)
    assert {"conv1", "fc1"} <= groups
    values = [v for one in found.removals for v in one.correlations.values() if v is not None]
    assert values
    assert all(-1 <= value <= 1 for value in values)
    assert found.before.keys() <= record.outcome.cost.layers.keys() if record.outcome else False
    text = explanation_text(found)
    assert f"progress {moments[0]:.2f}" in text
    assert "fires before" in text


def test_survival_is_a_score_and_single_weights_have_none(
    home: Path, made: dict[str, RunRecord]
) -> None:
    found = explain(home, made["hybrid"])
    assert found.faults == ()
    assert found.removals
    single = explain(home, made["unstructured"])
    assert single.removals == ()
    assert "single weights, so units have no scores" in explanation_text(single)
    assert single.before, "firing rates need no scores"


def test_the_command_writes_text_and_figure(
    home: Path,
    made: dict[str, RunRecord],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = made["structured"]
    assert call(monkeypatch, "explain", record.run_id, "--to", str(home / "why")) == 0
    assert record.spec.label() in capsys.readouterr().out
    assert (home / "why" / f"{record.run_id}.svg").read_text().startswith("<svg")


def test_a_run_that_pruned_nothing_has_no_explanation(
    home: Path, made: dict[str, RunRecord]
) -> None:
    from msgspec.structs import replace

    from pipelines.records.trajectory import Trajectory

    whole = replace(made["structured"], trajectory=Trajectory())
    with pytest.raises(InputError, match="pruned nothing, so there is nothing to explain"):
        explain(home, whole)


def test_ranks_by_hand() -> None:
    # Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 x 2 / (4 x 15) = 0.8.
    assert spearman([1.0, 2.0, 5.0, 9.0], [0.1, 0.3, 0.2, 7.0]) == pytest.approx(0.8)
    assert spearman([1.0, 2.0], [1.0, 2.0]) is None
    assert spearman([1.0, 1.0, 1.0], torch.arange(3.0).tolist()) is None
