"""Results of the tuning: written beside the others of a method, read back, and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.authoring.halving import Rung
from pipelines.authoring.tuning import Study, Trials, tuning_of
from pipelines.authoring.tuning_results import (
    Comparison,
    Result,
    all_results,
    one_line,
    read_results,
    result_of,
    results_markdown,
    tuned_changes,
    write_result,
)
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError, InputError
from pipelines.records.files import PROVENANCE
from tests.pipelines.authoring.test_tuning import scores_of

BETTER = Result(
    options=("stop", "scope", "p"),
    settings=((0.5, "global", 1), (0.7, "layer-wise", 1)),
    rungs=(Rung(2, {1: 0.8, 0: 0.79}),),
    best=1,
    comparison=Comparison(
        default=(0.70, 0.72, 0.71),
        found=(0.72, 0.73, 0.73),
        default_runs=("a0", "a1", "a2"),
        found_runs=("b0", "b1", "b2"),
    ),
)
SAME = BETTER.model_copy(update={"best": 0, "comparison": None})
WORSE = BETTER.model_copy(
    update={
        "comparison": BETTER.comparison
        and BETTER.comparison.model_copy(update={"found": (0.72, 0.70, 0.72)})
    }
)


@pytest.fixture
def study(params: Params, tmp_path: Path) -> Study:
    """A study of magnitude on the workloads of the repository."""
    return Study(
        params, "magnitude", "structured", "tuning-snn", Trials(tmp_path, tuning_of(params))
    )


def test_results_are_read_back_in_their_order(study: Study, tmp_path: Path) -> None:
    write_result(tmp_path, study, BETTER)
    other = Study(study.params, "magnitude", "hybrid", "tuning-ann", study.trials)
    write_result(tmp_path, other, SAME)
    found = read_results(tmp_path, "magnitude")
    assert found == {"snn": {"structured": BETTER}, "ann": {"hybrid": SAME}}
    assert list(found["snn"]["structured"].rungs[0].means) == [1, 0], "the best comes first"
    assert all_results(tmp_path) == {"magnitude": found}
    write_result(tmp_path, study, SAME)
    assert read_results(tmp_path, "magnitude")["snn"] == {"structured": SAME}
    assert read_results(tmp_path, "lamp") == {}


def test_only_confirmed_changes_are_taken() -> None:
    """Differences 2, 1, 2 points: mean 1.67, t(2; 0.975) 4.303, half-width 1.43."""
    assert BETTER.taken
    assert not SAME.taken
    assert not WORSE.taken
    results = {
        "snn": {"structured": BETTER, "hybrid": WORSE},
        "ann": {"structured": SAME},
    }
    changes = tuned_changes(results)  # type: ignore[arg-type]
    assert changes == {"snn": {"structured": {"stop": 0.7, "scope": "layer-wise"}}}


def test_the_table_has_one_row_per_study() -> None:
    results = {"lamp": {"snn": {"structured": BETTER, "hybrid": WORSE}, "ann": {"hybrid": SAME}}}
    assert results_markdown(results).splitlines()[2:] == [  # type: ignore[arg-type]
        "| `lamp` | snn | structured | 71.0 | 72.7 | +1.67 ± 1.43 | tuned | "
        "stop 0.7, scope layer-wise |",
        "| `lamp` | snn | hybrid | 71.0 | 71.3 | +0.33 ± 5.17 | default | "
        "stop 0.7, scope layer-wise |",
        "| `lamp` | ann | hybrid |  |  |  | default |  |",
    ]


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (SAME, "the default is the best setting of the search"),
        (
            BETTER,
            "the default is replaced; stop 0.7, scope layer-wise: +1.67 ± 1.43 points on 3 fresh "
            "seeds",
        ),
        (
            WORSE,
            "the default is kept; stop 0.7, scope layer-wise: +0.33 ± 5.17 points on 3 fresh seeds",
        ),
    ],
)
def test_a_result_in_one_line(result: Result, line: str) -> None:
    assert one_line(result) == line


def test_a_result_is_made_of_the_scores(study: Study) -> None:
    scores = [0.5] * len(study.settings)
    scores[3] = 0.6
    scores_of(study, scores, scores)
    result = result_of(study)
    assert (result.best, result.taken) == (3, True)
    assert result.comparison is not None
    assert result.comparison.default == pytest.approx([0.5 + 0.01 * k for k in range(10)])
    assert result.comparison.confirmation.gain == pytest.approx(0.1)
    assert len({*result.comparison.default_runs, *result.comparison.found_runs}) == 20
    assert [rung.seeds for rung in result.rungs] == list(study.tuning.rungs)
    default = study.params.methods["magnitude"]
    assert result.settings[0] == tuple(default[option] for option in study.space)
    assert result.changes.items() <= study.settings[3].items()


def test_a_study_in_which_all_fails_has_no_result(study: Study) -> None:
    scores_of(study, [0.0] * len(study.settings), [])
    for seed in study.tuning.search_seeds:
        for setting in range(len(study.settings)):
            study.trials.scores[study.spec(setting, seed).run_id] = 0.0
    with pytest.raises(BenchError, match="no trial of magnitude structured snn succeeded"):
        result_of(study)


def test_only_records_of_an_earlier_result_are_removed(study: Study, tmp_path: Path) -> None:
    folder = study.trials.confirmation.folder("tuning-snn", "magnitude")
    folder.mkdir(parents=True)
    for name in ("a0", "b1", "old", "of-another-study"):
        for ending in (".json", PROVENANCE):
            (folder / f"{name}{ending}").write_text("{}")
    assert BETTER.comparison is not None
    earlier = BETTER.comparison.model_copy(update={"found_runs": ("b0", "b1", "old")})
    write_result(tmp_path, study, BETTER.model_copy(update={"comparison": earlier}))
    write_result(tmp_path, study, BETTER)
    assert {path.name for path in folder.iterdir()} == {
        f"{name}{ending}"
        for name in ("a0", "b1", "of-another-study")
        for ending in (".json", PROVENANCE)
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("snn: {", "is not valid YAML"),
        ("rnn: {}", "rnn"),
        ("snn: {hybrid: {best: 0}}", "snn.hybrid.options: Field required"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "lamp.yaml").write_text(text)
    with pytest.raises(InputError, match=reason) as refused:
        read_results(tmp_path, "lamp")
    assert "\n" not in str(refused.value)
