"""The answers of small handmade boards, and what is written of them.

Worked by hand for five seeds, t(0.975, 4) = 2.776: the differences 1, 2, 3, 2, 2 points have mean 2
and half-width 2.776 x 0.7071 / sqrt(5) = 0.88; differences with standard deviation 1 have 1.24. The
costs 4.5, 5, 5, 5, 5 / 0.9 in relation to 10 have the geometric mean 50 %, and ln(1 / 0.9) /
sqrt(2) as standard deviation of the logarithm: 50 % exp(-+ 0.0925) = 45.6 to 54.8 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.report.findings.board_part import BoardPart, make_part
from pipelines.report.findings.questions import Answer, Question, questions
from pipelines.report.findings.sentences import findings_markdown, reading_markdown
from tests.helpers.handmade import control, record

BASE = (0.90, 0.91, 0.92, 0.91, 0.91)
#: Points over `BASE`, by seed.
ABOVE = (1, 2, 3, 2, 2)
BELOW = (-2, 0, -1, -2, 0)
COSTS = (4.5, 5, 5, 5, 5 / 0.9)


def runs(
    params: Params,
    method: str,
    points: Sequence[float] = (0, 0, 0, 0, 0),
    costs: Sequence[float] = (10, 10, 10, 10, 10),
    granularity: str | None = "structured",
) -> list[RunRecord]:
    """One record for each number of `points`; `costs` are seconds, and hundreds of SynOps."""
    made = []
    for seed, (base, more, cost) in enumerate(zip(BASE, points, costs, strict=False)):
        kind = "none" if method == "dense" else granularity
        one = record(params, method, seed, base + more / 100, 0.1, granularity=kind)
        assert one.outcome is not None
        outcome = replace(one.outcome, cost=replace(one.outcome.cost, synops=100.0 * cost))
        made.append(replace(one, outcome=outcome, train_seconds=float(cost)))
    return made


def part(records: Sequence[RunRecord], absent: Sequence[RunRecord] = ()) -> BoardPart:
    specs = [one.spec for one in absent]
    return make_part("handmade", records, specs, len(records) + len(specs))


def asked(found: BoardPart, beginning: str) -> Question:
    return next(one for one in questions(found, 0.1) if one.title.startswith(beginning))


def line(found: BoardPart, beginning: str) -> str:
    """The line of the only table of a question."""
    text = findings_markdown(found, 0.1, [asked(found, beginning)])
    (own,) = (one for one in text.splitlines() if one.startswith("- "))
    return own


def outcomes(found: Sequence[Answer]) -> dict[str, str]:
    return {one.method: one.outcome for one in found}


@pytest.fixture
def three(params: Params) -> list[RunRecord]:
    """`lamp` is above `magnitude`, which is not separated from `random`."""
    return [
        *runs(params, "magnitude"),
        *runs(params, "lamp", ABOVE),
        *runs(params, "random", BELOW),
    ]


def test_pairs_are_separated_by_the_corrected_test(three: list[RunRecord]) -> None:
    assert line(part(three), "Who separates") == (
        "- *digits-snn, structured, 5 seeds.* Separated: `lamp` over `random` +3.00 ± 1.24, "
        "`magnitude` +2.00 ± 0.88. Not separated: 1 pair (interval -0.24 to +2.24)."
    )


def test_with_four_seeds_no_direction_is_stated(three: list[RunRecord]) -> None:
    found = line(part([one for one in three if one.spec.seed < 4]), "Who separates")
    assert found.startswith(
        "- *digits-snn, structured, 4 seeds.* No direction, because fewer than 5 seeds: 3 pairs ("
    )
    assert "over" not in found


def test_a_row_with_a_missing_run_has_no_figures(three: list[RunRecord]) -> None:
    there = [one for one in three if (one.spec.method, one.spec.seed) != ("lamp", 4)]
    absent = [one for one in three if one not in there]
    assert line(part(there, absent), "Who separates") == (
        "- *digits-snn, structured, 5 seeds.* Not separated: 1 pair (interval -0.24 to +2.24). "
        "Not computed yet: `lamp` (without 1 of 5 runs)."
    )


def test_a_run_that_failed_leaves_fewer_seeds(three: list[RunRecord]) -> None:
    failed = [
        replace(one, status="diverged") if (one.spec.method, one.spec.seed) == ("lamp", 4) else one
        for one in three
    ]
    found = asked(part(failed), "Who separates")
    assert [(one.method, one.other, one.outcome) for one in found.answers] == [
        ("lamp", "magnitude", "few"),
        ("lamp", "random", "few"),
        ("magnitude", "random", "open"),
    ]


def test_no_direction_is_stated_where_the_interval_contains_zero(three: list[RunRecord]) -> None:
    for question in questions(part(three), 0.1):
        for answer in question.answers:
            if answer.outcome in ("higher", "lower"):
                assert answer.effect is not None
                low, high = answer.effect.ends
                assert low > 0 or high < 0


def test_a_criterion_is_compared_with_its_own_shuffle(three: list[RunRecord]) -> None:
    """The control of `lamp` is 1, 2, 3, 2, 2 points below it; that of `magnitude` is missing."""
    lamp = [one for one in three if one.spec.method == "lamp"]
    shuffled = [
        control(one, "shuffled", one.outcome.test_accuracy - more / 100)
        for one, more in zip(lamp, ABOVE, strict=True)
        if one.outcome and one.outcome.test_accuracy
    ]
    absent = [control(one, "shuffled", 0) for one in three if one.spec.method == "magnitude"]
    found = part([*three, *shuffled], absent)
    assert line(found, "What a criterion") == (
        "- *digits-snn, structured, 5 seeds.* Above their shuffled control: `lamp` +2.00 ± 0.88. "
        "Not computed yet: `magnitude` (without 5 controls)."
    )


def test_a_row_whose_controls_all_failed_has_no_figure(three: list[RunRecord]) -> None:
    """`magnitude` has five controls, and none is ok; the board asks for none of `lamp`."""
    failed = [
        control(one, "shuffled", 0, status="diverged")
        for one in three
        if one.spec.method == "magnitude"
    ]
    found = part([*three, *failed])
    assert line(found, "What a criterion") == (
        "- *digits-snn, structured.* No figure (no control is ok): `magnitude`."
    )
    reading = reading_markdown(found, 0.1, questions(found, 0.1)).splitlines()
    assert reading[3] == (
        "- **What a criterion is worth beyond its layer densities.** No figure: `magnitude` "
        "(1 row)."
    )


def test_activity_is_compared_with_magnitude(params: Params, three: list[RunRecord]) -> None:
    more = [*three, *runs(params, "firing_rate", [-one for one in ABOVE])]
    later = runs(params, "sca")
    assert line(part(more, later), "What activity") == (
        "- *digits-snn, structured, 5 seeds.* Below `magnitude`: `firing_rate` -2.00 ± 0.88. "
        "Not computed yet: `sca`."
    )


def test_spatio_temporal_pruning_is_compared_with_the_hybrid_form(params: Params) -> None:
    found = part(
        [
            *runs(params, "dpap", granularity="hybrid"),
            *runs(params, "dpap-st", ABOVE, COSTS, granularity="spatio-temporal"),
        ]
    )
    start = "- *digits-snn, spatio-temporal, 5 seeds.* "
    less = f"{start}Less than the hybrid form: `dpap-st` 50.0 % (45.6 to 54.8 %)."
    assert line(found, "What spatio-temporal pruning saves: SynOps") == less
    assert line(found, "What spatio-temporal pruning saves: training") == less
    # One latency for all handmade records: equal for all seeds.
    assert outcomes(asked(found, "What spatio-temporal pruning saves: inference").answers) == {
        "dpap-st": "open"
    }
    assert line(found, "What spatio-temporal pruning costs") == (
        f"{start}Above the hybrid form: `dpap-st` +2.00 ± 0.88."
    )


def test_training_time_is_compared_with_the_dense_network(params: Params) -> None:
    dense, fast = runs(params, "dense"), runs(params, "lamp", costs=COSTS)
    slow = runs(params, "magnitude", costs=(9.5, 10.5, 10, 9.5, 11))
    found = part([*dense, *fast, *slow])
    assert outcomes(asked(found, "What pruning saves").answers) == {
        "lamp": "lower",
        "magnitude": "open",
    }
    assert "`lamp` 50.0 % (45.6 to 54.8 %)" in line(found, "What pruning saves")
    (answer,) = asked(part(fast, dense), "What pruning saves").answers
    assert (answer.outcome, answer.note) == ("absent", "without dense")


def test_times_that_scatter_say_nothing(params: Params) -> None:
    fast = runs(params, "lamp", costs=COSTS)
    beside_others = runs(params, "dense", costs=(10, 10, 10, 10, 20))
    (answer,) = asked(part([*beside_others, *fast]), "What pruning saves").answers
    assert (answer.outcome, answer.effect) == ("none", None)
    assert answer.note == "times that scatter"
    found = part([*beside_others, *fast, *runs(params, "taylor"), *runs(params, "sca")])
    assert line(found, "What pruning saves") == (
        "- *digits-snn, structured.* No figure (times that scatter): `lamp`, `sca`, `taylor`."
    )
    reading = reading_markdown(found, 0.1, questions(found, 0.1))
    assert reading.splitlines()[-1] == (
        "- **What pruning saves in training time.** No figure: `lamp`, `taylor` (2 rows)."
    ), "sca was written after an abstract only"


def test_costs_that_wait_for_records_belong_to_the_family(params: Params) -> None:
    dense, lamp = runs(params, "dense"), runs(params, "lamp", costs=(9.5, 9.3, 9.7, 9.1, 9.8))
    absent = [one for name in ("taylor", "admm", "magnitude") for one in runs(params, name)]
    alone = asked(part([*dense, *lamp]), "What pruning saves").answers
    waiting = asked(part([*dense, *lamp], absent), "What pruning saves").answers
    assert outcomes(alone) == {"lamp": "lower"}
    assert outcomes(waiting)["lamp"] == "open", "p = 0.017 alone, and four comparisons"


def test_times_of_several_machines_are_not_compared(params: Params) -> None:
    dense, fast = runs(params, "dense"), runs(params, "lamp", costs=COSTS)
    assert dense[0].environment is not None
    other = dense[0].environment.model_copy(update={"processor": "another"})
    found = part([*(replace(one, environment=other) for one in dense), *fast])
    (answer,) = asked(found, "What pruning saves").answers
    assert (answer.outcome, answer.effect) == ("none", None)
    assert answer.note == "times of several machines, or none"


def test_the_reading_has_five_lines(params: Params, three: list[RunRecord]) -> None:
    found = part([*three, *runs(params, "dense")], runs(params, "sca"))
    head, _, *lines = reading_markdown(found, 0.1, questions(found, 0.1)).splitlines()
    assert head == (
        "Board `handmade`, density 0.1: 20 of 25 runs of the board have a record; the others are "
        "not computed yet."
    )
    assert len(lines) == 5
    assert lines[0] == (
        "- **Who separates from whom.** Differences of test accuracy in points. Of 3 pairs of "
        "methods: 2 separated, from +2.00 ± 0.88 to +3.00 ± 1.24; 1 not separated (interval -0.24 "
        "to +2.24)."
    )
    # `sca` was written after an abstract, so no headline names it.
    assert lines[2].endswith("The board has no runs for this.")


def test_a_board_without_records_is_not_computed_yet(three: list[RunRecord]) -> None:
    found = part([], three)
    text = findings_markdown(found, 0.1, questions(found, 0.1))
    assert text.startswith(
        "**Board `handmade`, density 0.1**: 0 of 15 runs of the board have a record;"
    )
    assert "*digits-snn, structured.* Not computed yet: `lamp`, `magnitude`, `random`." in text
    reading = reading_markdown(found, 0.1, questions(found, 0.1))
    assert "Not computed yet: `lamp`, `magnitude`, `random` (3 rows)." in reading
    assert "±" not in text + reading
