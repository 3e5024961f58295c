"""Statistics against simulations with known truth, worked examples and other libraries."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scikit_posthocs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from pipelines.metrics.table import METRICS
from pipelines.report.analysis.areas import area, areas
from pipelines.report.analysis.comparisons import (
    OWN_SHUFFLE,
    compare,
    detectable,
    ranked,
    waiting,
)
from pipelines.report.analysis.critical_difference import critical_differences
from pipelines.report.analysis.rows import Row
from pipelines.report.analysis.standings import analyse
from pipelines.report.analysis.synops_curves import Curve, at_equal_synops
from pipelines.report.statistics.friedman import friedman, groups
from pipelines.report.statistics.scores import Scores, Terms, difference
from pipelines.report.statistics.stats import Estimate, estimate, holm, p_value


def row(
    method: str,
    accuracies: dict[int, float],
    target: float | str = 0.5,
    workload: str = "w",
    failed: int = 0,
    **changes: Any,
) -> Row:
    """A row as `make_rows` makes it, as far as statistics look at it."""
    fields: dict[str, Any] = dict.fromkeys(Row.__dataclass_fields__)
    statuses = {"failed": failed} if failed else {}
    fields |= {
        "workload": workload,
        "track": "from-scratch",
        "granularity": "none" if method == "dense" else "structured",
        "method": method,
        "target": target,
        "statuses": statuses | ({"ok": len(accuracies)} if accuracies else {}),
        "accuracies": accuracies,
        "accuracy": estimate(list(accuracies.values())),
        "missing": 0,
        "missing_controls": 0,
    }
    names = [name for name in changes if name in METRICS]
    fields["means"] = dict.fromkeys(METRICS) | {name: changes.pop(name) for name in names}
    return Row(**fields | changes)


def simulated(
    draw: np.random.Generator, means: dict[str, float], seeds: int = 5, targets: int = 2
) -> list[Row]:
    """Rows whose truth is known: a mean per method, a shift that the seeds share, and noise."""
    rows = []
    for target in range(targets):
        shift = draw.normal(0, 0.02, seeds)
        for method, mean in means.items():
            accuracy = mean + shift + draw.normal(0, 0.01, seeds)
            rows.append(row(method, dict(enumerate(accuracy.tolist())), 1 / 2 ** (target + 1)))
    return rows


def paired_difference(ours: dict[int, float], theirs: dict[int, float]) -> Estimate | None:
    return difference(Scores(ours), Scores(theirs))


def one(accuracies: dict[int, float]) -> Terms:
    """The accuracy of one row, as a sum of rows."""
    return [(1.0, Scores(accuracies))]


def within_binomial_error(hits: int, trials: int, share: float) -> bool:
    """Whether a count is what the share predicts, four standard errors either way."""
    return abs(hits / trials - share) < 4 * math.sqrt(share * (1 - share) / trials)


def test_t_interval_by_hand() -> None:
    # Mean 2, standard deviation 1, t(0.975, 2) = 4.302653: half-width 4.302653 / sqrt(3).
    result = estimate([1.0, 2.0, 3.0])
    assert result is not None
    assert result.mean == 2.0
    assert result.half_width == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert estimate([]) is None
    alone = estimate([1.0])
    assert alone is not None
    assert alone.half_width is None


def test_differences_are_paired_by_seed() -> None:
    result = paired_difference({0: 1.0, 1: 2.0, 5: 9.0}, {0: 0.5, 1: 1.5})
    assert result is not None
    assert (result.mean, result.half_width, result.seeds) == (0.5, 0.0, 2)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_the_t_interval_covers_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    for seeds in (3, 5):
        values = draw.normal(0.9, 0.02, (4000, seeds)).tolist()
        covered = 0
        for one in values:
            found = estimate(one)
            assert found is not None
            assert found.half_width is not None
            covered += abs(found.mean - 0.9) <= found.half_width
        assert within_binomial_error(covered, 4000, 0.95)


def test_p_is_that_of_the_paired_t_test() -> None:
    ours, theirs = {0: 0.91, 1: 0.93, 2: 0.90, 3: 0.95}, {0: 0.90, 1: 0.90, 2: 0.91, 3: 0.92}
    difference = paired_difference(ours, theirs)
    assert difference is not None
    expected = scipy_stats.ttest_rel(list(ours.values()), list(theirs.values())).pvalue
    assert p_value(difference) == pytest.approx(expected, rel=1e-9)
    assert p_value(Estimate(0.1, 0.0, 5, 0.0)) == 1.0, "no deviation, nothing to test with"
    shifted = {seed: accuracy - 0.1 for seed, accuracy in ours.items()}
    equal = paired_difference(ours, shifted)
    assert equal is not None
    assert p_value(equal) == 1.0, "equal up to rounding"
    assert p_value(Estimate(0.1, None, 1)) == 1.0


def test_holm_is_that_of_statsmodels() -> None:
    draw = np.random.default_rng(10)
    for size in (1, 2, 9, 50):
        p_values = (draw.random(size) ** 3).tolist()
        expected = multipletests(p_values, method="holm")[1]
        assert holm(p_values) == pytest.approx(expected.tolist(), abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1)))
def test_holm_lies_between_the_plain_p_and_bonferroni(p_values: list[float]) -> None:
    for plain, corrected in zip(p_values, holm(p_values), strict=True):
        assert plain <= corrected <= min(1.0, len(p_values) * plain)


def test_holm_by_hand() -> None:
    # 3 x 0.01, 2 x 0.02, then 1 x 0.03, which may not fall below the one before.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []


def test_under_the_null_ranks_are_shared_and_nothing_is_separated() -> None:
    draw = np.random.default_rng(1)
    means = dict.fromkeys("abcd", 0.9)
    errors = 0
    for _ in range(400):
        rows = simulated(draw, means)
        found = compare(rows)
        assert len(found) == 2 * 6
        separated = any(one.separated for one in found)
        errors += separated
        assert separated == any(r.rank != 1 for r in ranked(rows, found))
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert errors / 400 <= limit, "family-wise errors of Holm's correction"


def test_a_large_effect_is_found_and_ranked() -> None:
    rows = simulated(np.random.default_rng(2), {"best": 0.95, "also": 0.95, "worse": 0.5}, seeds=8)
    found = compare(rows)
    ranks = {(r.method, r.target): r.rank for r in ranked(rows, found)}
    for target in (0.5, 0.25):
        assert [ranks[name, target] for name in ("best", "also", "worse")] == [1, 1, 3]
    assert {(one.method, one.other) for one in found if one.separated} == {
        ("best", "worse"),
        ("also", "worse"),
    }


def test_few_seeds_are_neither_compared_nor_ranked() -> None:
    rows = simulated(np.random.default_rng(3), {"a": 0.9, "b": 0.1, "c": 0.5}, seeds=4)
    assert compare(rows) == []
    assert [r.rank for r in ranked(rows, [])] == [None] * len(rows)
    (found,) = detectable(rows, 0)
    assert (found.seeds, found.tests) == (4, 6)
    assert detectable([row("a", {0: 0.9, 1: 0.8}), row("b", {0: 0.7, 1: 0.9})], 0) == ()
    incomplete = [row("a", {s: 0.9 + s / 100 for s in range(5)}), row("b", {0: 0.5, 9: 0.4})]
    assert compare(incomplete) == [], "two seeds in common"


def test_rows_are_compared_at_the_density_that_they_share() -> None:
    draw = np.random.default_rng(4)

    def accuracies() -> dict[int, float]:
        return dict(enumerate(draw.normal(0.9, 0.01, 5).tolist()))

    rows = [
        row("dense", accuracies(), 1.0),
        row("dpap", accuracies(), "emergent"),
        row("random", accuracies(), "as dpap"),
        row("random", accuracies(), 0.5),
        row("magnitude", accuracies(), 0.5, gain_over_shuffled=estimate([0.1, 0.2, 0.1, 0.2, 0.1])),
    ]
    pairs = {(frozenset((c.method, c.other)), c.matched) for c in compare(rows)}
    assert pairs == {
        (frozenset(("dpap", "random")), "as dpap"),
        (frozenset(("magnitude", "random")), 0.5),
        (frozenset(("magnitude", OWN_SHUFFLE)), 0.5),
    }
    (standing,) = analyse(rows).standings
    controls = {(c.method, c.other) for c in standing.controls}
    assert controls == {
        ("dpap", "random"),
        ("random", "magnitude"),
        ("magnitude", "random"),
        ("magnitude", OWN_SHUFFLE),
    }
    one, two = (c for c in standing.controls if {c.method, c.other} == {"random", "magnitude"})
    assert one.difference.mean == -two.difference.mean
    assert one.p == two.p


def test_comparisons_that_wait_for_records_belong_to_the_family() -> None:
    a, b = (
        dict(enumerate([0.90, 0.91, 0.92, 0.91, 0.90])),
        dict(enumerate([0.89, 0.89, 0.9, 0.9, 0.9])),
    )
    two = [row("a", a), row("b", b)]
    (alone,) = compare(two)
    assert (waiting(two), alone.corrected) == (0, alone.p)
    partial = [
        *two,
        row("c", {0: 0.5}, missing=4),  # against a and b
        row("d", {}, missing=3),  # three seeds are asked for, and five are needed
        row("e", a, 0.25, missing_controls=5),  # against its shuffled control
    ]
    (found,) = compare(partial)
    assert (waiting(partial), found.corrected) == (3, pytest.approx(4 * alone.p))
    assert waiting([*two, row("c", {0: 0.5})]) == 0, "its other runs failed: nothing waits"


def test_densities_with_other_numbers_of_seeds_have_their_own_detectable_difference() -> None:
    noise = np.random.default_rng(7).normal(0, 0.01, (6, 10))
    many = [row(name, dict(enumerate(noise[i])), 0.1) for i, name in enumerate("ab")]
    few = [row(name, dict(enumerate(noise[i + 2][:5])), 0.5) for i, name in enumerate("ab")]
    also = [row(name, dict(enumerate(noise[i + 4][:5])), 0.25) for i, name in enumerate("ab")]
    ten, five = detectable([*many, *few, *also], 3)
    assert (ten.densities, ten.seeds, five.densities, five.seeds) == ((0.1,), 10, (0.5, 0.25), 5)
    assert ten == detectable(many, 3)[0]
    assert ten.tests == five.tests == 3


def test_the_detectable_difference_by_hand() -> None:
    # Paired differences 0.01, 0.03, 0.02 of a - b; c differs from both by constants, so the median
    # of the three standard errors is that of a - c or b - c.
    a, b, c = {0: 0.91, 1: 0.93, 2: 0.92}, {0: 0.90, 1: 0.90, 2: 0.90}, {0: 0.5, 1: 0.5, 2: 0.5}
    (found,) = detectable([row("a", a), row("b", b), row("c", c)], 0)
    assert found.seed_error == pytest.approx(0.01 / 3**0.5)
    assert (found.item_error, found.seeds, found.tests) == (None, 3, 3)
    assert found.alone == pytest.approx(4.302653 * 0.01 / 3**0.5)
    assert found.corrected == pytest.approx(scipy_stats.t.ppf(1 - 0.05 / 6, 2) * 0.01 / 3**0.5)


def test_a_pair_that_differs_by_more_than_the_detectable_difference_is_separated() -> None:
    draw = np.random.default_rng(6)
    noise = draw.normal(0, 0.01, (2, 8))
    for factor, apart in ((1.01, True), (0.99, False)):
        rows = [row("a", dict(enumerate(noise[0]))), row("b", dict(enumerate(noise[1])))]
        (found,) = detectable(rows, 1)
        shift = noise[1].mean() - noise[0].mean() + factor * found.corrected
        rows[0] = row("a", dict(enumerate(noise[0] + shift)))
        assert [one.separated for one in compare(rows)] == [apart]


#: Ranks of C4.5 and three variants of it on 14 data sets: Demšar 2006, table 6.
DEMSAR = np.array(
    [
        [4, 3, 2, 1],
        [1, 2, 3, 4],
        [4, 1, 2, 3],
        [4, 1, 3, 2],
        [4, 2, 3, 1],
        [1, 2.5, 4, 2.5],
        [3, 2, 4, 1],
        [2.5, 2.5, 4, 1],
        [4, 3, 2, 1],
        [2.5, 2.5, 2.5, 2.5],
        [4, 2.5, 1, 2.5],
        [3, 2, 4, 1],
        [4, 1, 2, 3],
        [3, 1, 4, 2],
    ]
)


def test_friedman_and_nemenyi_on_the_example_of_demsar() -> None:
    found = friedman(-DEMSAR)
    assert found.ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
    # The paper's chi-square of 9.28 leaves ties aside; the correction divides it.
    squares = sum(rank**2 for rank in found.ranks)
    plain = 12 * 14 / (4 * 5) * (squares - 4 * 5**2 / 4)
    assert plain == pytest.approx(9.28, abs=0.01)
    ties = [np.unique(line, return_counts=True)[1] for line in DEMSAR]
    correction = 1 - sum((counts**3 - counts).sum() for counts in ties) / (14 * (4**3 - 4))
    assert found.statistic == pytest.approx(plain / correction)
    assert found.p == pytest.approx(scipy_stats.chi2.sf(found.statistic, 3))
    # Its critical difference at 0.05.
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)


def test_nemenyi_separates_whom_scikit_posthocs_separates() -> None:
    draw = np.random.default_rng(7)
    scores = draw.normal(0, 1, (20, 5)) + np.array([0, 0.2, 0.8, 1.5, 1.6])
    found = friedman(scores)
    p_values = scikit_posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    for i in range(5):
        for j in range(i):
            apart = abs(found.ranks[i] - found.ranks[j]) > found.critical_difference
            assert apart == (p_values[i, j] < 0.05)
    assert 0 < (p_values < 0.05).sum() < 20, "the example shows both"


def test_methods_that_never_differ_share_all_ranks() -> None:
    found = friedman(np.ones((6, 3)))
    assert (found.ranks, found.p) == ((2.0, 2.0, 2.0), 1.0)


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([1.0, 1.5, 3.0, 3.2], [(0, 1), (2, 3)]),
        ([1.0, 1.8, 2.6, 3.4], [(0, 1), (1, 2), (2, 3)]),
        ([1.0, 1.2, 1.4], [(0, 2)]),
        ([1.0, 3.0], []),
    ],
)
def test_groups_are_the_largest_runs(ranks: list[float], expected: list[tuple[int, int]]) -> None:
    assert groups(ranks, 1.0) == expected


def board(
    make: Callable[[str, str, float], dict[int, float]], names: str, workloads: str = "uvwxyz"
) -> list[Row]:
    return [
        row(name, make(name, workload, target), target, workload)
        for workload in workloads
        for name in names
        for target in (0.5, 0.1)
    ]


def test_critical_differences_over_a_board() -> None:
    draw = np.random.default_rng(8)
    gain = {"a": 0.3, "b": 0.2, "c": 0.0}

    def make(name: str, workload: str, target: float) -> dict[int, float]:
        return dict(enumerate((0.5 + gain[name] + draw.normal(0, 0.01, 5)).tolist()))

    rows = board(make, "abc")
    (found,) = critical_differences([*rows, row("d", make("c", "u", 0.5), 0.5, "u")])
    assert found.methods == ("a", "b", "c")
    assert found.ranks == (1.0, 2.0, 3.0)
    assert found.blocks == 6, "densities and seeds of a workload are no blocks of their own"
    # Three methods over six workloads have a critical difference of 2.343 sqrt(12 / 36) = 1.35.
    assert found.critical_difference == pytest.approx(1.353, abs=1e-3)
    assert found.alike == (("a", "b"), ("b", "c"))
    assert found.left_out == ("d",)
    few = [row(r.method, {0: 0.5, 1: 0.6, 2: 0.7}, r.target, r.workload) for r in rows]
    assert critical_differences(few) == [], "ranks need five seeds"
    assert critical_differences(board(make, "abc", "uvwxy")) == [], "ranks need six workloads"


def test_a_run_that_fails_has_the_last_place_of_its_block() -> None:
    accuracy = {"a": 0.9, "b": 0.8, "c": 0.7}

    def make(name: str, workload: str, target: float) -> dict[int, float]:
        seeds = range(1) if (name, workload, target) == ("a", "u", 0.1) else range(5)
        return dict.fromkeys(seeds, accuracy[name])

    rows = [
        r if len(r.accuracies) == 5 else row("a", r.accuracies, 0.1, "u", failed=4)
        for r in board(make, "abc")
    ]
    (found,) = critical_differences(rows)
    # Method a is first in 5 of 6 workloads and third in the one with the failed runs.
    ranks = dict(zip(found.methods, found.ranks, strict=True))
    assert ranks == pytest.approx({"a": 8 / 6, "b": 11 / 6, "c": 17 / 6})


def test_alike_methods_are_one_group() -> None:
    draw = np.random.default_rng(9)
    rows = board(lambda *_: dict(enumerate(draw.normal(0.9, 0.01, 5).tolist())), "abc")
    (found,) = critical_differences(rows)
    assert found.p >= 0.05
    assert found.alike == (found.methods,)


def test_an_area_by_hand() -> None:
    # From 1/8 to 1/2 are two doublings: heights 0.6 to 0.8 over one, 0.8 to 0.9 over the other.
    found = area([0.125, 0.25, 0.5], [one({0: 0.6}), one({0: 0.8}), one({0: 0.9, 1: 0.1})])
    assert found is not None
    assert found.mean == pytest.approx((0.7 + 0.85) / 2)
    assert found.seeds == 1
    assert area([0.5], [one({0: 0.9})]) is None
    assert area([0.25, 0.5], [one({0: 0.9}), one({1: 0.9})]) is None


@settings(deadline=None)
@given(st.floats(0, 1), st.lists(st.floats(0.01, 1), min_size=2, max_size=6, unique=True))
def test_the_area_of_a_flat_curve_is_its_height(height: float, places: list[float]) -> None:
    found = area(sorted(places), [one({0: height})] * len(places))
    assert found is not None
    assert found.mean == pytest.approx(height)


def spiking(method: str, density: float, synops: float, accuracies: dict[int, float]) -> Row:
    return row(method, accuracies, density, density=density, synops=synops)


def test_areas_go_over_what_all_methods_have() -> None:
    dense = row("dense", {0: 0.99}, 1.0, synops=1000.0)
    rows = [
        spiking("a", 0.5, 400.0, {0: 0.9}),
        spiking("a", 0.25, 200.0, {0: 0.8}),
        spiking("a", 0.125, 100.0, {0: 0.6}),
        spiking("b", 0.5, 800.0, {0: 0.95}),
        spiking("b", 0.25, 200.0, {0: 0.85}),
    ]
    found = areas(rows, dense)
    assert found is not None
    assert found.densities == (0.5, 0.25)
    assert found.synops == (0.2, 0.4)
    first, second = found.methods
    assert (first.method, second.method) == ("b", "a")
    assert second.over_density is not None
    assert second.over_density.mean == pytest.approx(0.85)
    assert second.over_synops is not None
    assert second.over_synops.mean == pytest.approx(0.85)
    # Method b is at 0.9 half way, in the logarithm, from 0.2 to 0.8: at 0.4.
    assert first.over_synops is not None
    assert first.over_synops.mean == pytest.approx((0.85 + 0.9) / 2)
    artificial = areas([row("a", {0: 0.9}, 0.5), row("a", {0: 0.8}, 0.25)], None)
    assert artificial is not None
    assert artificial.synops is None
    assert artificial.methods[0].over_synops is None


def test_equal_synops_lie_between_a_methods_own_densities() -> None:
    dense = row("dense", {0: 0.99, 1: 0.97}, 1.0, synops=1000.0)
    rows = [
        spiking("random", 0.5, 500.0, {0: 0.90, 1: 0.88}),
        spiking("random", 0.125, 125.0, {0: 0.70, 1: 0.72}),
        spiking("magnitude", 0.5, 400.0, {0: 0.94, 1: 0.92}),
        spiking("magnitude", 0.25, 50.0, {0: 0.80}),
    ]
    found = {(r.share, r.method): r for r in at_equal_synops(rows, dense)}
    assert list(found) == [
        (0.5, "random"),
        (0.25, "magnitude"),
        (0.25, "random"),
        (0.1, "magnitude"),
        (0.05, "magnitude"),
    ]
    middle = found[0.25, "random"]
    assert middle.accuracy.mean == pytest.approx(0.80), "half way in the logarithm"
    assert middle.density == pytest.approx(0.25)
    assert middle.synops == 250.0
    assert middle.drop is not None
    assert middle.drop.mean == pytest.approx(0.18)
    assert middle.gain_over_magnitude is not None
    assert middle.gain_over_magnitude.seeds == 1
    assert found[0.05, "magnitude"].accuracy == Estimate(pytest.approx(0.80), None, 1)
    assert at_equal_synops(rows, None) == []


def test_curves_do_not_extrapolate() -> None:
    curve = Curve({0.5: (0.6, one({0: 0.9})), 0.1: (0.2, one({0: 0.7}))})
    assert curve.ends == (0.1, 0.5)
    assert curve.at(0.6) is None
    assert curve.at(0.05) is None
    assert curve.at(0.1) == (0.2, one({0: 0.7}))
