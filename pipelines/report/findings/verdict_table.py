"""The verdicts on published claims as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from pipelines.methods.catalogue import in_headlines
from pipelines.metrics.numbers import MISSING
from pipelines.metrics.table import METRICS
from pipelines.report.findings.claims import OWN_SHUFFLE, Check, Claim
from pipelines.report.findings.verdicts import CANNOT, Judgement, Verdict


def verdicts_markdown(found: Sequence[Verdict]) -> str:
    """Write a count of the verdicts, and a table each: judged, not yet, and not at all."""
    counts = Counter(one.judgement for one in found)
    listed = ", ".join(f"{counts[kind]} {_plural(kind)}" for kind in get_args(Judgement))
    claims = len({id(one.claim) for one in found})
    judged = [one for one in found if one.judgement != CANNOT]
    waiting = [one for one in found if one.waits]
    short = [one for one in found if one.judgement == CANNOT and one.check and not one.waits]
    never = [one for one in found if one.check is None]
    return (
        f"{claims} claims, {len(found)} checks: {listed}.\n"
        + _section(
            "Judged",
            (
                "claim",
                "verdict",
                "found, with 95 % interval",
                "asked for",
                "where, and what differs",
            ),
            [(_said(one), one.judgement, *_numbers(one), _where(one)) for one in judged],
        )
        + _section(
            "Cannot be judged here yet",
            ("claim", "why", "found", "asked for", "where, and what differs"),
            [(_said(one), one.reason, *_numbers(one), _where(one)) for one in waiting],
        )
        + _section(
            "Cannot be judged with the records that its board asks for",
            ("claim", "why", "found", "asked for", "where, and what differs"),
            [(_said(one), one.reason, *_numbers(one), _where(one)) for one in short],
        )
        + _section(
            "Cannot be judged with this suite",
            ("claim", "why"),
            [(_said(one), one.reason) for one in never],
        )
    )


def _plural(kind: Judgement) -> str:
    return {"holds": "hold", "does not hold": "do not hold"}.get(kind, kind)


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"\n**{title}**\n\n{table}"


def _said(one: Verdict) -> str:
    return f"{one.claim.claim} {_source(one.claim)}"


def _numbers(one: Verdict) -> tuple[str, str]:
    assert one.check is not None, "claims without checks have no numbers"
    found = f"{one.effect.text}, {one.effect.estimate.seeds} seeds" if one.effect else MISSING
    return found, _asked(one.check)


def _where(one: Verdict) -> str:
    assert one.check is not None, "claims without checks have no setting"
    return f"{_setting(one.check)}. {one.check.differs}{_abstract(one.check)}"


def _abstract(check: Check) -> str:
    names = [f"`{name}`" for name in check.methods if not in_headlines(name)]
    return f" Written without the full text of the paper: {', '.join(names)}." if names else ""


def _source(claim: Claim) -> str:
    cited = claim.citation
    if claim.arxiv:
        cited = f"[{cited}](https://arxiv.org/abs/{claim.arxiv})"
    return f"({cited}, {claim.where})"


def _setting(check: Check) -> str:
    density = check.density if isinstance(check.density, str) else f"density {check.density:g}"
    return f"Board `{check.board}`: `{check.workload}`, {check.granularity}, {density}"


def _asked(check: Check) -> str:
    """The bound, as a phrase: "accuracy of `lamp` minus that of `random`: at least 0"."""
    side = "at least" if check.at_least is not None else "at most"
    if check.quantity == "accuracy":
        other = "its shuffled control" if check.against == OWN_SHUFFLE else f"`{check.against}`"
        bound = f"{check.bound:+.2f}" if check.bound else "0"
        return f"accuracy of `{check.method}` minus that of {other}: {side} {bound}"
    title = METRICS[check.quantity].title
    if check.against is None:
        shown = f"{check.bound:g}"
        return f"{title} of `{check.method}`: {side} {shown}"
    other = f"`{check.against}`"
    if check.against_granularity:
        other += f", {check.against_granularity}"
    return f"{title} of `{check.method}` in % of {other}: {side} {100 * check.bound:g}"
