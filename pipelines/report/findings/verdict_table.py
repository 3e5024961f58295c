"""The verdicts on published claims as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from pipelines.methods.catalogue import in_headlines
from pipelines.metrics.table import METRICS
from pipelines.report.findings.claims import Check, Claim
from pipelines.report.findings.effects import Effect
from pipelines.report.findings.verdicts import Judgement, Verdict

_HEAD = ("claim", "verdict", "found here, 95 % interval", "asked for", "checked on, and what differs")


def verdicts_markdown(found: Sequence[Verdict]) -> str:
    """Write a count of the verdicts and one line for each check."""
    counts = Counter(one.judgement for one in found)
    listed = ", ".join(f"{counts[kind]} {_plural(kind)}" for kind in get_args(Judgement))
    claims = len({id(one.claim) for one in found})
    lines = [
        f"{claims} claims, {len(found)} checks: {listed}.\n",
        f"| {' | '.join(_HEAD)} |",
        f"| {' | '.join('---' for _ in _HEAD)} |",
        *(f"| {' | '.join(_cells(one))} |" for one in found),
    ]
    return "\n".join(lines) + "\n"


def _plural(kind: Judgement) -> str:
    return {"holds": "hold", "does not hold": "do not hold"}.get(kind, kind)


def _cells(one: Verdict) -> tuple[str, ...]:
    said = f"{one.claim.claim} {_source(one.claim)}"
    if one.check is None:
        return said, one.judgement, "", "", one.reason
    reason = f"**{one.reason[0].upper()}{one.reason[1:]}.** " if one.reason else ""
    where = f"{reason}{_setting(one.check)}. {one.check.differs}{_abstract(one.check)}"
    return said, one.judgement, _found(one.effect), _asked(one.check), where


def _abstract(check: Check) -> str:
    names = [f"`{name}`" for name in check.methods if not in_headlines(name)]
    return f" Written without the full text of the paper: {', '.join(names)}." if names else ""


def _source(claim: Claim) -> str:
    cited = claim.citation
    if claim.arxiv:
        cited = f"[{cited}](https://arxiv.org/abs/{claim.arxiv})"
    return f"({cited}, {claim.where})"


def _found(effect: Effect | None) -> str:
    return f"{effect.text}, {effect.estimate.seeds} seeds" if effect else ""


def _setting(check: Check) -> str:
    density = check.density if isinstance(check.density, str) else f"density {check.density:g}"
    return f"Board `{check.board}`: `{check.workload}`, {check.granularity}, {density}"


def _asked(check: Check) -> str:
    """The bound, as a phrase: ``accuracy of `lamp` minus that of `random`: at least +0.00``."""
    side = "at least" if check.at_least is not None else "at most"
    if check.quantity == "accuracy":
        other = "its shuffled control" if check.against == "own shuffle" else f"`{check.against}`"
        return f"accuracy of `{check.method}` minus that of {other}: {side} {check.bound:+.2f}"
    title = METRICS[check.quantity].title
    if check.against is None:
        shown = METRICS[check.quantity].format(check.bound)
        return f"{title} of `{check.method}`: {side} {shown}"
    other = f"`{check.against}`"
    if check.against_granularity:
        other += f", {check.against_granularity}"
    return f"{title} of `{check.method}` in % of {other}: {side} {100 * check.bound:.1f}"
