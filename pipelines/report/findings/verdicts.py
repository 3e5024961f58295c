"""Verdicts: whether published claims hold in the records of the boards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipelines.boards.params import Params
from pipelines.common.errors import InputError
from pipelines.metrics.table import METRICS
from pipelines.records.store import Store
from pipelines.report.analysis.rows import RANKED, REFERENCE, RowKey
from pipelines.report.findings.board_part import BoardPart, read_part
from pipelines.report.findings.claims import OWN_SHUFFLE, Check, Claim
from pipelines.report.findings.effects import Effect
from pipelines.report.statistics.stats import ALPHA, holm

Judgement = Literal["holds", "does not hold", "not separated", "cannot be judged here"]
CANNOT: Judgement = "cannot be judged here"


@dataclass(frozen=True)
class Verdict:
    """The judgement of one check of a claim, or of a claim without checks.

    Parameters
    ----------
    claim, check
        `check` is None if the claim cannot be checked with this suite.
    judgement
        The claim holds, or does not, if the quantity differs from the bound after Holm's correction
        for all checks that can be judged, now or once their records exist.
    effect
        What was found; None if there are no records.
    reason
        Why it cannot be judged; empty if it is.
    waits
        Whether it can be judged once its records exist.
    """

    claim: Claim
    check: Check | None
    judgement: Judgement
    effect: Effect | None = None
    reason: str = ""
    waits: bool = False


def judge(
    params: Params, store_of: Callable[[str], Store], claims: Sequence[Claim]
) -> list[Verdict]:
    """Judge claims by the records of boards.

    Parameters
    ----------
    params
        Has the boards.
    store_of
        Board -> the store of its records.
    claims
        Published claims.

    Returns
    -------
    list of Verdict
        One for each check, in the order of the claims; one for a claim without checks.
    """
    found: list[Verdict] = []
    for claim in claims:
        if claim.cannot:
            found.append(Verdict(claim, None, CANNOT, reason=claim.cannot))
        for check in claim.checks:
            found.append(_measure(params, store_of, claim, check))
    open_ = [
        (i, one.effect, one.check)
        for i, one in enumerate(found)
        if one.effect is not None and one.check is not None and not one.reason
    ]
    p = [effect.p(_bound(check, effect)) for _, effect, check in open_]
    corrected = holm([*p, *(1.0 for one in found if one.waits)])[: len(p)]
    for (i, effect, check), after in zip(open_, corrected, strict=True):
        found[i] = replace(found[i], judgement=_judgement(check, effect, after))
    return found


def _measure(
    params: Params, store_of: Callable[[str], Store], claim: Claim, check: Check
) -> Verdict:
    """What the records say, and the reason why that is not enough; empty if it is."""
    verdict = Verdict(claim, check, CANNOT)
    try:
        part = read_part(
            params,
            check.board,
            store_of(check.board),
            [check.workload],
            check.methods,
            [check.density],
        )
    except InputError as error:
        return replace(verdict, reason=f"board `{check.board}`: {error}")
    row, other = _keys(check)
    for key in (row, other):
        if key is not None and key not in part.rows:
            return replace(verdict, reason=f"the board `{check.board}` has no `{key[3]}` there")
    asked = min(part.rows[key].asked for key in (row, other) if key is not None)
    if missing := _missing(part, check, row, other):
        if asked < RANKED:
            return replace(verdict, reason=_few(asked))
        return replace(verdict, reason=f"not computed yet: {missing}", waits=True)
    effect, reason = _effect(part, check, row, other)
    if effect is not None and not effect.ranked:
        reason = _few(effect.estimate.seeds)
    return replace(verdict, effect=effect, reason=reason)


def _few(seeds: int) -> str:
    return f"{seeds} {'seed' if seeds == 1 else 'seeds'}, and a direction needs {RANKED}"


def _keys(check: Check) -> tuple[RowKey, RowKey | None]:
    """Row of a check, and the row that it is compared with; None for a control or a bound alone."""
    row: RowKey = (check.workload, check.track, check.granularity, check.method, check.density)
    if check.against in (None, OWN_SHUFFLE):
        return row, None
    if check.against == REFERENCE:
        return row, (check.workload, check.track, "none", REFERENCE, 1.0)
    granularity = check.against_granularity or check.granularity
    return row, (check.workload, check.track, granularity, str(check.against), check.density)


def _missing(part: BoardPart, check: Check, row: RowKey, other: RowKey | None) -> str:
    """Which runs have no record, in words; empty if all have one."""
    parts = [
        f"{part.rows[key].missing} runs of `{key[3]}`"
        for key in (row, other)
        if key is not None and part.rows[key].missing
    ]
    if check.against == OWN_SHUFFLE and part.rows[row].missing_controls:
        parts.append(f"{part.rows[row].missing_controls} controls of `{row[3]}`")
    return ", ".join(parts)


def _effect(
    part: BoardPart, check: Check, row: RowKey, other: RowKey | None
) -> tuple[Effect | None, str]:
    """Estimate the quantity of a check; None and the reason if the records do not have it."""
    if check.against == OWN_SHUFFLE:
        gain = part.rows[row].gain_over_shuffled
        if gain is None:
            return None, f"the board `{check.board}` has no shuffled control of it"
        return Effect(gain, "points"), ""
    if check.quantity == "accuracy":
        assert other is not None, "the model of a check asks for it"
        effect = part.gain(row, other)
    else:
        metric = METRICS[check.quantity]
        if not part.comparable(metric, row, *([other] if other else [])):
            return None, "its times come from several machines, or are not in the records"
        effect = part.ratio(row, other, metric) if other else part.value(row, metric)
    return effect, "" if effect else "no run of it is ok, or none has the figure"


def _bound(check: Check, effect: Effect) -> float:
    """The bound of a check in the unit of an estimate."""
    if effect.scale == "ratio":
        return math.log(check.bound)
    return check.bound / 100 if effect.scale == "points" else check.bound


def _judgement(check: Check, effect: Effect, corrected: float) -> Judgement:
    if corrected >= ALPHA:
        return "not separated"
    above = effect.estimate.mean > _bound(check, effect)
    return "holds" if above == (check.at_least is not None) else "does not hold"
