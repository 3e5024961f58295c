"""Findings as Markdown: every comparison with its interval, and a reading of five lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from pipelines.methods.catalogue import in_headlines
from pipelines.report.analysis.rows import RANKED
from pipelines.report.findings.board_part import BoardPart
from pipelines.report.findings.effects import Effect
from pipelines.report.findings.questions import Answer, Outcome, Question, TableAnswers

NOT_COMPUTED = "not computed yet"
#: At most so many methods are named in the reading.
_FEW = 6
#: What the reading has a line for: the first words of a title.
_READING = (
    "Who separates",
    "What a criterion",
    "What activity",
    "What spatio-temporal pruning saves: SynOps",
    "What pruning saves in training time",
)


def findings_markdown(part: BoardPart, density: float, found: Sequence[Question]) -> str:
    """Write the answers of a board at one density: a list of tables below each question."""
    text = f"**Board `{part.board}`, density {density:g}**: {_coverage(part)}\n"
    for number, question in enumerate(found):
        if question.tables:
            lines = [f"- {_table(question, table)}\n" for table in question.tables]
            if number and all(answer.outcome == "absent" for answer in question.answers):
                lines = [f"- {_capital(NOT_COMPUTED)}.\n"]  # the first question names the methods
            text += f"\n**{question.title}.** {question.unit}\n\n{''.join(lines)}"
    if unasked := [question.title for question in found if not question.tables]:
        text += f"\nThe board has no runs for: {'; '.join(unasked)}.\n"
    if abstract := _after_abstract(found):
        text += f"\nWritten without the full text of the paper: {', '.join(abstract)}.\n"
    return text


def reading_markdown(part: BoardPart, density: float, found: Sequence[Question]) -> str:
    """Write five lines about a board at one density: one for each question, over all tables."""
    text = f"Board `{part.board}`, density {density:g}: {_coverage(part)}\n\n"
    for beginning in _READING:
        question = next(one for one in found if one.title.startswith(beginning))
        text += f"- **{question.title}.** {_line(question)}\n"
    return text


def _after_abstract(found: Sequence[Question]) -> list[str]:
    names = {answer.method for question in found for answer in question.answers}
    return [f"`{name}`" for name in sorted(names) if not in_headlines(name)]


def _coverage(part: BoardPart) -> str:
    there = part.cells - part.missing
    return (
        f"{there:,} of {part.cells:,} runs of the board have a record; the others are "
        f"{NOT_COMPUTED}."
        if part.missing
        else f"all {part.cells:,} runs of the board have a record."
    )


def _table(question: Question, table: TableAnswers) -> str:
    """One table of a question as one line: its answers, grouped by what may be said."""
    pairs = any(answer.other for answer in table.answers)
    parts = []
    for outcome, title in _titles(question):
        own = [answer for answer in table.answers if answer.outcome == outcome]
        if not own:
            continue
        if pairs and outcome == "higher":
            parts.append(f"{title}: {_better(own)}.")
        elif pairs and outcome in ("open", "few"):
            number = f"{len(own)} {'pair' if len(own) == 1 else 'pairs'}"
            parts.append(f"{title}: {number} ({_span(own)}).")
        elif outcome == "none":
            parts += _without_figure(title, own)
        else:
            parts.append(f"{title}: {', '.join(map(_entry, own))}.")
    said = " ".join(map(_capital, parts))
    return f"*{table.name}{_seeds(table.answers)}.* {said}"


def _without_figure(title: str, answers: Sequence[Answer]) -> Iterator[str]:
    """Name the rows without a figure, grouped by the reason."""
    for note in dict.fromkeys(answer.note for answer in answers):
        names = ", ".join(f"`{answer.method}`" for answer in answers if answer.note == note)
        yield f"{title}{f' ({note})' if note else ''}: {names}."


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _titles(question: Question) -> list[tuple[Outcome, str]]:
    higher, lower = question.words
    return [
        ("higher", higher),
        ("lower", lower),
        ("open", "not separated"),
        ("few", f"no direction, because fewer than {RANKED} seeds"),
        ("absent", NOT_COMPUTED),
        ("none", "no figure"),
    ]


def _seeds(answers: Iterable[Answer]) -> str:
    seeds = {answer.effect.estimate.seeds for answer in answers if answer.effect}
    if not seeds:
        return ""
    low, high = min(seeds), max(seeds)
    return f", {low} seeds" if low == high else f", {low} to {high} seeds"


def _entry(answer: Answer) -> str:
    if answer.effect:
        return f"`{answer.method}` {answer.effect.text}"
    return f"`{answer.method}`{f' ({answer.note})' if answer.note else ''}"


def _better(answers: Sequence[Answer]) -> str:
    """Separated pairs, grouped by the better method; most separations first."""
    names = [answer.method for answer in answers]
    order = sorted(answers, key=lambda a: (-names.count(a.method), a.method, -_mean(a)))
    return "; ".join(
        f"`{name}` over "
        + ", ".join(f"`{one.other}` {one.effect.text}" for one in group if one.effect)
        for name, group in groupby(order, key=lambda answer: answer.method)
    )


def _mean(answer: Answer) -> float:
    return answer.effect.estimate.mean if answer.effect else 0.0


def _effects(answers: Iterable[Answer]) -> list[Effect]:
    return [answer.effect for answer in answers if answer.effect]


def _span(answers: Sequence[Answer]) -> str:
    """The range that holds all intervals of some answers."""
    effects = [one for one in _effects(answers) if one.estimate.half_width is not None]
    if not effects:
        return "one seed"
    low, high = min(one.ends[0] for one in effects), max(one.ends[1] for one in effects)
    inside = "interval" if len(effects) == 1 else "intervals between"
    joint = "to" if len(effects) == 1 else "and"
    return f"{inside} {effects[0].number(low)} {joint} {effects[0].number(high)}"


def _line(question: Question) -> str:
    """All tables of a question as one line: numbers of answers, and the range of the effects.

    Methods that were written after an abstract alone stay out, as out of other headlines.
    """
    answers = [
        one
        for one in question.answers
        if in_headlines(one.method) and (not one.other or in_headlines(one.other))
    ]
    if not answers:
        return "The board has no runs for this."
    judged = [one for one in answers if one.outcome in ("higher", "lower", "open", "few")]
    rest = [
        _rows(title, own)
        for outcome, title in _titles(question)
        if outcome in ("absent", "none")
        and (own := [answer for answer in answers if answer.outcome == outcome])
    ]
    if not judged:
        return " ".join(rest)
    parts = []
    for outcome, title in _titles(question):
        own = [answer for answer in judged if answer.outcome == outcome]
        if not own:
            continue
        if outcome in ("open", "few"):
            parts.append(f"{len(own)} {title} ({_span(own)})")
        else:
            parts.append(f"{len(own)} {title}, {_smallest_to_largest(own)}")
    said = f"{question.unit} Of {len(judged)} {question.of}: {'; '.join(parts)}."
    return " ".join([said, *rest])


def _smallest_to_largest(answers: Sequence[Answer]) -> str:
    """The effects of smallest and of largest mean, each with its interval."""
    effects = sorted(_effects(answers), key=lambda one: one.estimate.mean)
    if len(effects) == 1:
        return effects[0].text
    return f"from {effects[0].text} to {effects[-1].text}"


def _rows(title: str, answers: Sequence[Answer]) -> str:
    """Name the methods of some answers, or count them if they are many, and count the rows."""
    names = [f"`{name}`" for name in sorted({answer.method for answer in answers})]
    listed = ", ".join(names) if len(names) <= _FEW else f"{len(names)} methods"
    rows = "row" if len(answers) == 1 else "rows"
    return f"{_capital(title)}: {listed} ({len(answers)} {rows})."
