"""The questions that findings answer, and the answers of one board at one density.

1. Who separates from whom?
2. What is a criterion worth beyond its layer densities?
3. What does activity add to magnitude?
4. What does spatio-temporal pruning save?
5. What does pruning save in training time?

A direction is stated only for comparisons over at least five seeds that stay significant after
Holm's correction; their intervals exclude zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from pipelines.metrics.metric import Metric
from pipelines.metrics.table import METRICS
from pipelines.report.analysis.comparisons import OWN_SHUFFLE, Comparison, compare
from pipelines.report.analysis.rows import MAGNITUDE, REFERENCE, Row, RowKey
from pipelines.report.analysis.standings import tables_of
from pipelines.report.findings.board_part import STEADY, BoardPart
from pipelines.report.findings.effects import Effect
from pipelines.report.statistics.stats import ALPHA, holm
from pipelines.settings.spec import SPATIO_TEMPORAL

#: Methods whose scores are magnitudes weighted by activity, or activity alone.
OF_ACTIVITY = ("firing_rate", "sca", "wanda", "slamp")
#: A method that also prunes time steps has the name of its spatial form, and this ending.
TEMPORAL_ENDING = "-st"
_SYNOPS, _SECONDS, _LATENCY = (
    METRICS[name] for name in ("synops", "train_seconds", "latency_milliseconds")
)

#: What may be said about a comparison. ``few``: fewer than five seeds. ``absent``: records are
#: missing. ``none``: all records are there, but they do not have the figure.
Outcome = Literal["higher", "lower", "open", "few", "absent", "none"]


@dataclass(frozen=True)
class Answer:
    """One comparison.

    Parameters
    ----------
    method, other
        What is compared; `other` is empty where the question says it.
    outcome
        What may be said.
    effect
        The estimate; None if there is none.
    note
        Why there is no estimate.
    """

    method: str
    outcome: Outcome
    effect: Effect | None = None
    other: str = ""
    note: str = ""


@dataclass(frozen=True)
class TableAnswers:
    """The answers of one table: one workload, one granularity and one track."""

    name: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Question:
    """A question and its answers.

    Parameters
    ----------
    title
        The subject, for a heading.
    unit
        What the numbers are.
    words
        What is said of a higher and of a lower number.
    tables
        The answers; empty if the board does not ask the question.
    of
        What is compared, in the plural.
    """

    title: str
    unit: str
    words: tuple[str, str]
    tables: tuple[TableAnswers, ...]
    of: str = "rows"

    @property
    def answers(self) -> list[Answer]:
        """The answers of all tables."""
        return [answer for table in self.tables for answer in table.answers]


def questions(part: BoardPart, density: float) -> list[Question]:
    """Answer all questions for a board at one density.

    Parameters
    ----------
    part
        A whole board: Holm's correction is over all comparisons of each of its tables, as on the
        page of the board.
    density
        Target density of the rows.
    """
    tables = [
        (own, [row for row in own if row.target == density])
        for _, own in tables_of([*part.rows.values()])
    ]
    compared = [(own, at, compare(own)) for own, at in tables if at]
    return [
        Question(
            "Who separates from whom",
            "Differences of test accuracy in points.",
            ("separated", ""),  # the better method of a pair comes first
            _tables((at, _pairs(part, at, found)) for _, at, found in compared),
            "pairs of methods",
        ),
        Question(
            "What a criterion is worth beyond its layer densities",
            "Test accuracy minus that of the own shuffled control, in points.",
            ("above their shuffled control", "below their shuffled control"),
            _tables((at, _shuffled(part, at, found)) for _, at, found in compared),
        ),
        Question(
            "What activity adds to magnitude",
            f"Test accuracy minus that of `{MAGNITUDE}`, in points.",
            (f"above `{MAGNITUDE}`", f"below `{MAGNITUDE}`"),
            _tables((at, _active(part, at, found)) for _, at, found in compared),
        ),
        *_temporal(part, density),
        _training(part, [at for _, at, _ in compared]),
    ]


def _tables(found: Iterable[tuple[Sequence[Row], Iterable[Answer]]]) -> tuple[TableAnswers, ...]:
    made = ((rows[0], tuple(answers)) for rows, answers in found)
    return tuple(TableAnswers(_name(row), answers) for row, answers in made if answers)


def _name(row: Row) -> str:
    track = "" if row.track == "from-scratch" else f", {row.track}"
    return f"{row.workload}, {row.granularity}{track}"


def _outcome(effect: Effect, corrected: float) -> Outcome:
    if not effect.ranked:
        return "few"
    if corrected >= ALPHA:
        return "open"
    return "higher" if effect.estimate.mean > 0 else "lower"


def _of(found: Sequence[Comparison], method: str, other: str, row: Row) -> Comparison | None:
    """The comparison of two rows at the density of one of them, with `method` first."""
    for one in found:
        if one.matched == row.density_group and {one.method, one.other} == {method, other}:
            return one.seen_from(method)
    return None


def _judged(method: str, one: Comparison, other: str = "") -> Answer:
    effect = Effect(one.difference, "points")
    return Answer(method, _outcome(effect, one.corrected), effect, other)


def _without_test(method: str, effect: Effect | None, other: str = "") -> Answer:
    """The answer where a table has no test, because there are fewer than five common seeds."""
    if effect is None:
        return Answer(method, "none", other=other, note="no run is ok")
    return Answer(method, "few", effect, other)


def _missing(row: Row) -> Answer:
    """Say how many runs of a row, and of its controls, have no record; nothing if none has one."""
    parts = [f"{row.missing} of {row.asked} runs"] if row.missing else []
    parts += [f"{row.missing_controls} controls"] if row.missing_controls else []
    note = f"without {' and '.join(parts)}" if row.statuses else ""
    return Answer(row.method, "absent", note=note)


def _either_missing(one: Row, two: Row) -> Answer:
    """The answer of a row that has no records, or whose reference has none."""
    if one.missing:
        return _missing(one)
    name = two.method if two.is_reference else f"{two.granularity} {two.method}"
    return Answer(one.method, "absent", note=f"without {name}")


def _pairs(part: BoardPart, rows: Sequence[Row], found: Sequence[Comparison]) -> Iterator[Answer]:
    there = [row for row in rows if not row.missing]
    for one, two in combinations(there, 2):
        comparison = _of(found, one.method, two.method, one)
        if comparison is None:
            yield _without_test(one.method, part.gain(one.key, two.key), two.method)
        elif comparison.difference.mean < 0:
            yield _judged(two.method, comparison.seen_from(two.method), one.method)
        else:
            yield _judged(one.method, comparison, two.method)
    yield from (_missing(row) for row in rows if row.missing)


def _shuffled(
    part: BoardPart, rows: Sequence[Row], found: Sequence[Comparison]
) -> Iterator[Answer]:
    for row in rows:
        gain = row.gain_over_shuffled
        comparison = _of(found, row.method, OWN_SHUFFLE, row)
        if row.missing_controls:
            yield _missing(row)
        elif comparison is not None:
            yield _judged(row.method, comparison)
        elif gain is not None:
            yield _without_test(row.method, Effect(gain, "points"))
        elif row.key in part.shuffled:
            yield Answer(row.method, "none", note="no control is ok")


def _active(part: BoardPart, rows: Sequence[Row], found: Sequence[Comparison]) -> Iterator[Answer]:
    magnitude = next((row for row in rows if row.method == MAGNITUDE), None)
    for row in rows:
        if row.method not in OF_ACTIVITY or magnitude is None:
            continue
        comparison = _of(found, row.method, MAGNITUDE, row)
        if row.missing:
            yield _missing(row)
        elif magnitude.missing:
            yield replace(_missing(magnitude), method=row.method, note=f"without {MAGNITUDE}")
        elif comparison is not None:
            yield _judged(row.method, comparison)
        else:
            yield _without_test(row.method, part.gain(row.key, magnitude.key))


def _temporal(part: BoardPart, density: float) -> Iterator[Question]:
    """Spatio-temporal rows against the hybrid rows of the same methods: costs, then accuracy."""
    pairs = []
    for row in part.rows.values():
        if row.granularity == SPATIO_TEMPORAL and row.target == density:
            spatial = row.method.removesuffix(TEMPORAL_ENDING)
            other = (row.workload, row.track, "hybrid", spatial, density)
            if other in part.rows:
                pairs.append((row, part.rows[other]))
    for metric, what, unit in (
        (_SYNOPS, "SynOps", "SynOps"),
        (_SECONDS, "training time", "Training seconds"),
        (_LATENCY, "inference time", "Milliseconds for one sample"),
    ):
        yield Question(
            f"What spatio-temporal pruning saves: {what}",
            f"{unit} in % of those of the hybrid form of the method.",
            ("more than the hybrid form", "less than the hybrid form"),
            _by_table([(one, _cost(part, one, two, metric)) for one, two in pairs]),
        )
    yield Question(
        "What spatio-temporal pruning costs: accuracy",
        "Test accuracy minus that of the hybrid form of the method, in points.",
        ("above the hybrid form", "below the hybrid form"),
        _by_table([(one, _accuracy(part, one, two)) for one, two in pairs]),
    )


def _training(part: BoardPart, tables: Sequence[Sequence[Row]]) -> Question:
    found = []
    for row in (row for rows in tables for row in rows):
        dense: RowKey = (row.workload, row.track, "none", REFERENCE, 1.0)
        if dense in part.rows:
            found.append((row, _cost(part, row, part.rows[dense], _SECONDS)))
    return Question(
        "What pruning saves in training time",
        "Training seconds in % of those of the dense network; wall-clock, so other programs on the "
        f"machine count. No figure if times scatter over seeds by more than {100 * STEADY:.0f} %.",
        ("more than the dense network", "less than the dense network"),
        _by_table(found),
    )


def _cost(part: BoardPart, one: Row, two: Row, metric: Metric) -> Answer:
    """The ratio of a cost of two rows; `_by_table` decides what may be said about it."""
    if one.missing or two.missing:
        return _either_missing(one, two)
    if not part.comparable(metric, one.key, two.key):
        return Answer(one.method, "none", note="times of several machines, or none")
    if not part.steady(metric, one.key, two.key):
        return Answer(one.method, "none", note="times that scatter")
    effect = part.ratio(one.key, two.key, metric)
    return _without_test(one.method, effect)


def _accuracy(part: BoardPart, one: Row, two: Row) -> Answer:
    if one.missing or two.missing:
        return _either_missing(one, two)
    return _without_test(one.method, part.gain(one.key, two.key))


def _by_table(found: Sequence[tuple[Row, Answer]]) -> tuple[TableAnswers, ...]:
    """Group answers by table, after a test of those with five seeds.

    It is corrected for all of them, and for those that wait for records.
    """
    effects = [
        (i, answer.effect)
        for i, (_, answer) in enumerate(found)
        if answer.effect is not None and answer.effect.ranked
    ]
    waiting = [1.0 for _, answer in found if answer.outcome == "absent"]
    corrected = holm([*(effect.p() for _, effect in effects), *waiting])[: len(effects)]
    judged = [answer for _, answer in found]
    for (i, effect), p in zip(effects, corrected, strict=True):
        judged[i] = replace(judged[i], outcome=_outcome(effect, p))
    tables: dict[str, list[Answer]] = {}
    for (row, _), answer in zip(found, judged, strict=True):
        tables.setdefault(_name(row), []).append(answer)
    return tuple(TableAnswers(name, tuple(answers)) for name, answers in tables.items())
