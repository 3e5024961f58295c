"""Verdicts on claims by handmade records.

Five seeds, digits-snn, density 0.25. `magnitude` is 1, 2, 3, 2, 2 points below the dense network:
-2.00 ± 0.88. `random` is 2, 0, 1, 2, 0 points below `magnitude`: -1.00 ± 1.24. `magnitude` takes 4,
5, 5, 5, 6.25 seconds of 10: 50.0 % (41.1 to 60.8 %).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.boards.board import Board
from pipelines.boards.params import Params
from pipelines.metrics.numbers import MISSING
from pipelines.records.store import Store
from pipelines.report.findings.claims import Claim
from pipelines.report.findings.verdict_table import verdicts_markdown
from pipelines.report.findings.verdicts import Verdict, judge
from tests.helpers.handmade import record

DENSE = (0.92, 0.94, 0.95, 0.93, 0.93)
DROP = (1, 2, 3, 2, 2)
BELOW = (2, 0, 1, 2, 0)
SECONDS = (4, 5, 5, 5, 6.25)


@pytest.fixture(scope="module")
def board(params: Params) -> Params:
    """A board `small` of two methods with five seeds, and one, `few`, with three."""
    fields: dict[str, Any] = {
        "workloads": ("digits-snn",),
        "baselines": ("dense", "random", "magnitude", "lamp"),
        "granularities": ("none", "structured"),
        "densities": (0.25,),
    }
    boards = {
        "small": Board.model_validate(fields | {"seeds": range(5)}),
        "few": Board.model_validate(fields | {"seeds": range(3)}),
    }
    return params.model_copy(update={"boards": boards})


@pytest.fixture(scope="module")
def store(board: Params, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("small") / "records")
    for seed, (dense, drop, below) in enumerate(zip(DENSE, DROP, BELOW, strict=True)):
        magnitude = dense - drop / 100
        for name, accuracy, seconds in (
            ("dense", dense, 10.0),
            ("magnitude", magnitude, SECONDS[seed]),
            ("random", magnitude - below / 100, 10.0),
        ):
            kind = "none" if name == "dense" else "structured"
            one = record(board, name, seed, accuracy, 0.25, granularity=kind)
            store.write(replace(one, train_seconds=float(seconds)))
    return store


def claim(**check: Any) -> Claim:
    fields: dict[str, Any] = {
        "board": "small",
        "workload": "digits-snn",
        "granularity": "structured",
        "density": 0.25,
        "method": "magnitude",
        "against": "dense",
        "differs": "Digits.",
    }
    about = {"claim": "It works.", "citation": "We 2026", "where": "abstract"}
    return Claim.model_validate(about | {"checks": [fields | check]})


def verdicts(board: Params, store: Store, *claims: Claim) -> list[Verdict]:
    return judge(board, lambda _: store, claims)


def test_a_claim_holds_or_not_only_if_it_is_separated_from_the_bound(
    board: Params, store: Store
) -> None:
    found = verdicts(
        board,
        store,
        claim(at_least=-6),
        claim(at_least=0),
        claim(at_most=0),
        claim(at_least=-2.5),
        claim(method="random", against="magnitude", at_least=0),
        claim(quantity="train_seconds", at_most=0.9),
        claim(quantity="train_seconds", at_least=0.9),
        claim(quantity="density", against=None, at_most=0.3),
    )
    assert [one.judgement for one in found] == [
        "holds",
        "does not hold",
        "holds",
        "not separated",
        "not separated",
        "holds",
        "does not hold",
        "holds",
    ]
    assert [one.effect.text for one in found if one.effect] == [
        *["-2.00 ± 0.88"] * 4,
        "-1.00 ± 1.24",
        *["50.0 % (41.1 to 60.8 %)"] * 2,
        "0.250 (0.250 to 0.250)",
    ]


def test_verdicts_are_corrected_for_their_number(board: Params, store: Store) -> None:
    """-2 against -0.8: t = 3.79, p = 0.0192. It is separated alone, and not among three."""
    one = claim(at_least=-0.8)
    assert [v.judgement for v in verdicts(board, store, one)] == ["does not hold"]
    assert {v.judgement for v in verdicts(board, store, one, one, one)} == {"not separated"}


def test_checks_that_wait_for_records_belong_to_the_family(board: Params, store: Store) -> None:
    """As above; a check of a board with three seeds waits for nothing."""
    one, waiting = claim(at_least=-0.8), claim(method="lamp", at_least=0)
    never = claim(board="few", method="lamp", at_least=0)
    first, *others = verdicts(board, store, one, waiting, waiting)
    assert first.judgement == "not separated"
    assert all(other.waits for other in others)
    first, *others = verdicts(board, store, one, never, never)
    assert first.judgement == "does not hold"
    assert {(v.waits, v.reason) for v in others} == {(False, "3 seeds, and a direction needs 5")}


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ({"method": "lamp"}, "not computed yet: 5 runs of `lamp`"),
        ({"board": "few"}, "3 seeds, and a direction needs 5"),
        ({"against": "own shuffle"}, "the board `small` has no shuffled control of it"),
        ({"granularity": "unstructured"}, "the board `small` has no `magnitude` there"),
        ({"method": "taylor"}, "board `small`: unknown method of the board 'taylor'"),
        ({"density": 0.5}, "board `small`: the board has no density 0.5; it has 0.25."),
    ],
)
def test_a_reason_says_why_a_claim_cannot_be_judged(
    check: dict[str, Any], reason: str, board: Params, store: Store
) -> None:
    (found,) = verdicts(board, store, claim(at_least=0, **check))
    assert found.judgement == "cannot be judged here"
    assert found.reason.startswith(reason)


def test_times_of_several_machines_are_no_evidence(board: Params, store: Store) -> None:
    one = record(board, "magnitude", 0, 0.9, 0.25, granularity="structured")
    assert one.environment is not None
    moved = one.environment.model_copy(update={"processor": "another"})
    copy = Store(store.root.parent.with_name("moved") / "records")
    for path in store.root.rglob("*.*"):
        target = copy.root / path.relative_to(store.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    copy.write(replace(one, environment=moved))
    (found,) = verdicts(board, copy, claim(quantity="train_seconds", at_most=0.9))
    assert found.reason == "its times come from several machines, or are not in the records"


def test_the_table_has_claims_by_what_is_known(board: Params, store: Store) -> None:
    about = {"claim": "It sees.", "citation": "We 2025", "arxiv": "2501.00001", "where": "Fig. 1"}
    never = Claim.model_validate(about | {"cannot": "It needs ImageNet."})
    text = verdicts_markdown(
        verdicts(board, store, claim(at_least=-6), claim(method="lamp", at_least=-1), never)
    )
    judged, yet, last = text.split("\n**")[1:]
    assert text.startswith(
        "3 claims, 3 checks: 1 hold, 0 do not hold, 0 not separated, 2 cannot be judged here."
    )
    assert (
        "| It works. (We 2026, abstract) | holds | -2.00 ± 0.88, 5 seeds | accuracy of "
        "`magnitude` minus that of `dense`: at least -6.00 | Board `small`: `digits-snn`, "
        "structured, density 0.25. Digits. |\n"
    ) in judged
    assert f"| not computed yet: 5 runs of `lamp` | {MISSING} |" in yet
    assert (
        "| It sees. ([We 2025](https://arxiv.org/abs/2501.00001), Fig. 1) | It needs ImageNet. |\n"
    ) in last


def test_checks_of_short_boards_are_a_group_of_their_own(board: Params, store: Store) -> None:
    """`lamp` has no record on either board: more would help on `small`, and not on `few`."""
    absent = {"method": "lamp", "at_least": 0}
    text = verdicts_markdown(verdicts(board, store, claim(**absent), claim(board="few", **absent)))
    yet, short = text.split("\n**")[1:]
    assert yet.startswith("Cannot be judged here yet**")
    assert "| not computed yet: 5 runs of `lamp` |" in yet
    assert "Board `few`" not in yet
    assert short.startswith("Cannot be judged with the records that its board asks for**")
    assert "| 3 seeds, and a direction needs 5 |" in short
    assert "Board `small`" not in short


@pytest.mark.parametrize(
    ("check", "asked"),
    [
        (
            {"quantity": "density", "against": None, "at_most": 0.3875},
            "density of `magnitude`: at most 0.3875",
        ),
        (
            {"quantity": "synops", "at_most": 0.3775},
            "SynOps of `magnitude` in % of `dense`: at most 37.75",
        ),
        # 100 * 0.07 is 7.000000000000001.
        (
            {"quantity": "synops", "at_most": 0.07},
            "SynOps of `magnitude` in % of `dense`: at most 7",
        ),
    ],
)
def test_a_bound_is_written_as_the_claim_has_it(
    check: dict[str, Any], asked: str, board: Params, store: Store
) -> None:
    assert f"| {asked} |" in verdicts_markdown(verdicts(board, store, claim(**check)))


def test_an_empty_store_has_no_verdict(board: Params, tmp_path: Path) -> None:
    (found,) = verdicts(board, Store(tmp_path), claim(at_least=0))
    assert found.reason == "not computed yet: 5 runs of `magnitude`, 5 runs of `dense`"
