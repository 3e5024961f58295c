"""Comparison of canaries with their reference, and what is accepted, on outcomes made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.canaries.acceptance import accept, add_environment, compare, covered, reference_for
from pipelines.canaries.cells import Canary, all_canaries
from pipelines.canaries.outcomes import Result
from pipelines.canaries.reference import Place, read_references, write_reference
from pipelines.common.errors import BenchError
from pipelines.records.digest import kind_of
from pipelines.records.lineage import Code, read_accepted, read_lineage, sections_of

HERE = Place(processor="Here", capability="AVX2", torch="2", threads=1)
THERE = Place(processor="There", capability="AVX512", torch="2", threads=1)
NAMES = (
    "lamp structured",
    "lamp unstructured post-training",
    "sca structured",
    "magnitude unstructured",
    "magnitude hybrid post-training",
)
OF_WORKLOADS = ("leaky images fused from-scratch", "leaky images fused post-training")


@pytest.fixture(scope="module")
def canaries() -> list[Canary]:
    return [one for one in all_canaries() if one.name in NAMES + OF_WORKLOADS]


@pytest.fixture(scope="module")
def code(canaries: list[Canary]) -> Code:
    """Code in which each section is one file."""
    names = {name for one in canaries for name in sections_of(one.kind)}
    return Code(
        files={f"{name}.py": "1" for name in names},
        sections={name: [f"{name}.py"] for name in names},
    )


def outcomes(canaries: Sequence[Canary], **changed: str) -> dict[str, Result]:
    """Outcomes with given hashes, by the first word of the name."""
    return {
        one.name: Result("ok", 2.0, 0.5, 0.4, 10.0, changed.get(one.name.split()[0], "a-b"))
        for one in canaries
    }


def edited(code: Code, section: str) -> Code:
    return Code(files=code.files | {f"{section}.py": "2"}, sections=code.sections)


def nothing() -> list[str]:
    return []


@pytest.fixture
def root(tmp_path: Path, canaries: list[Canary], code: Code) -> Path:
    """A project whose code is accepted, with HERE as the reference environment."""
    add_environment(tmp_path, HERE, canaries, outcomes(canaries), code, nothing)
    return tmp_path


def valid(root: Path, canaries: Sequence[Canary], old: Code, new: Code) -> set[str]:
    """Names of the canaries whose records stay valid from the old code to the new one."""
    lineage = read_lineage(root)
    return {
        one.name
        for one in canaries
        if old.digest(one.kind) in lineage.same(one.kind, new.digest(one.kind) or "")
    }


def test_the_first_environment_begins_the_files(root: Path, code: Code) -> None:
    accepted = read_accepted(root)
    assert accepted is not None
    assert (accepted.generation, accepted.code) == (1, code)
    reference, same = reference_for(root, HERE)
    assert reference is not None
    assert same
    assert reference_for(root, THERE) == (reference, False)


def test_equal_canaries_keep_all_records_valid(
    root: Path, canaries: list[Canary], code: Code
) -> None:
    new = edited(code, "cell")
    assert valid(root, canaries, code, new) == set()
    done = accept(root, HERE, canaries, outcomes(canaries), new, nothing)
    assert (done.moved, done.added) == ([], [])
    assert done.entry is not None
    assert done.entry.files == {"cell.py": ("1", "2")}
    assert valid(root, canaries, code, new) == set(NAMES + OF_WORKLOADS)
    accepted = read_accepted(root)
    assert accepted is not None
    assert (accepted.generation, accepted.code) == (1, new)
    again = accept(root, HERE, canaries, outcomes(canaries), new, nothing)
    assert again.entry is None
    assert len(read_lineage(root).entries) == 1


def test_records_that_a_differing_canary_covers_are_stale(
    root: Path, canaries: list[Canary], code: Code
) -> None:
    write_reference(root, THERE, 1, outcomes(canaries))
    new = edited(code, "cell")
    done = accept(root, HERE, canaries, outcomes(canaries, sca="a-x"), new, nothing)
    assert done.moved == ["sca structured"]
    assert valid(root, canaries, code, new) == {*NAMES, *OF_WORKLOADS} - {"sca structured"}
    reference, same = reference_for(root, HERE)
    assert reference is not None
    assert same
    assert reference.generation == 2
    assert reference.canaries["sca structured"].hashes == "a-x"
    assert not reference_for(root, THERE)[1], "its outcomes are those of an older generation"


def test_a_differing_canary_of_a_workload_makes_its_workload_stale(
    root: Path, canaries: list[Canary], code: Code
) -> None:
    new = edited(code, "neuron leaky")
    results = outcomes(canaries)
    results[OF_WORKLOADS[1]] = results[OF_WORKLOADS[1]]._replace(hashes="x-b")
    accept(root, HERE, canaries, results, new, nothing)
    dense = {one.name for one in canaries if kind_of(one.spec).dense}
    assert valid(root, canaries, code, new) == {*NAMES, *OF_WORKLOADS} - dense


def test_a_changed_file_that_no_canary_runs_makes_its_cells_stale(
    root: Path, canaries: list[Canary], code: Code
) -> None:
    new = edited(edited(code, "method sca"), "method lamp")
    done = accept(root, HERE, canaries, outcomes(canaries), new, lambda: ["method sca.py"])
    assert done.entry is not None
    assert done.entry.unreached == ["method sca.py"]
    assert valid(root, canaries, code, new) == {*NAMES, *OF_WORKLOADS} - {"sca structured"}


def test_new_canaries_are_recorded_and_prove_nothing(
    tmp_path: Path, canaries: list[Canary], code: Code
) -> None:
    few = [one for one in canaries if one.spec.method != "sca"]
    add_environment(tmp_path, HERE, few, outcomes(few), code, nothing)
    new = edited(code, "cell")
    done = accept(tmp_path, HERE, canaries, outcomes(canaries), new, nothing)
    assert (done.moved, done.added) == ([], ["sca structured"])
    assert valid(tmp_path, canaries, code, new) == {*NAMES, *OF_WORKLOADS} - {"sca structured"}
    (reference,) = read_references(tmp_path)
    assert reference.generation == 1
    assert "sca structured" in reference.canaries


def test_only_a_reference_environment_accepts(
    root: Path, tmp_path_factory: pytest.TempPathFactory, canaries: list[Canary], code: Code
) -> None:
    with pytest.raises(BenchError, match="there-avx512-torch-2-1-thread is none"):
        accept(root, THERE, canaries, outcomes(canaries), code, nothing)
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(BenchError, match=r"nothing was accepted .* --add-environment"):
        accept(empty, HERE, canaries, outcomes(canaries), code, nothing)


def test_an_environment_is_added_if_code_and_figures_agree(
    root: Path, canaries: list[Canary], code: Code
) -> None:
    with pytest.raises(BenchError, match=r"not as it was accepted \(it differs in cell.py\)"):
        add_environment(root, THERE, canaries, outcomes(canaries), edited(code, "cell"), nothing)
    far = outcomes(canaries)
    far["sca structured"] = far["sca structured"]._replace(loss=9.0)
    with pytest.raises(BenchError, match=r"1 canaries differ .*sca structured: differs in loss"):
        add_environment(root, THERE, canaries, far, code, nothing)
    add_environment(root, THERE, canaries, outcomes(canaries, lamp="v-w"), code, nothing)
    assert reference_for(root, THERE)[1]
    assert reference_for(root, HERE)[1]


def test_a_comparison_says_what_it_is_based_on(root: Path, canaries: list[Canary]) -> None:
    reference, _ = reference_for(root, HERE)
    results = outcomes(canaries, lamp="a-x")
    found = compare(canaries, results, reference, exact=True)
    assert (found.exact, found.reference) == (True, HERE.name)
    assert list(found.differ) == ["lamp structured", "lamp unstructured post-training"]
    near = compare(canaries, results, reference, exact=False)
    assert not near.differ
    del results["sca structured"]
    gone = compare(canaries, results, reference, exact=True)
    assert gone.differ["sca structured"] == "sca structured: its parent is not ok any more"
    assert compare(canaries, results, None, exact=False).new == [one.name for one in canaries]


def test_what_equal_canaries_cover(root: Path, canaries: list[Canary]) -> None:
    reference, _ = reference_for(root, HERE)
    assert reference is not None
    everything = ["lamp dense", "lamp snn", "leaky images fused", "leaky images fused dense"]
    everything += ["magnitude dense", "magnitude snn", "sca snn"]
    assert covered(canaries, reference, []) == everything
    assert covered(canaries, reference, ["sca structured"]) == everything[:-1]
    failed = {"sca structured": reference.canaries["sca structured"]._replace(status="failed")}
    other = replace(reference, canaries=reference.canaries | failed)
    assert covered(canaries, other, []) == everything[:-1]
