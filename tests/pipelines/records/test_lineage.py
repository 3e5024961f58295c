"""The lineage: which records of earlier code stay valid, and which do not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from pipelines.common.errors import BenchError
from pipelines.records.digest import Kind, code_now, kind_digest
from pipelines.records.lineage import (
    CODE,
    LINEAGE,
    Accepted,
    Code,
    Entry,
    Lineage,
    append_entry,
    change,
    meanings_digest,
    needs,
    read_accepted,
    read_lineage,
    sections_of,
    write_accepted,
)
from pipelines.settings.rules import RULES_VERSION
from tests.helpers.mutation import PACKAGES
from tests.helpers.paths import ROOT

KIND = Kind("lamp", "digits", "leaky", "fused", "cpu", dense=False)
DENSE = KIND._replace(dense=True)
OTHER = KIND._replace(method="admm")
CIFAR = KIND._replace(data="cifar-10")
COVERS = sorted({*needs(DENSE), *needs(OTHER)})

FIRST = Code(
    files={
        "trainer.py": "t1",
        "colours.py": "c1",
        "catalogue.py#digits": "d1",
        "catalogue.py#cifar-10": "d1",
        "cifar.py": "r1",
        "leaky.py": "l1",
        "kernel.c": "k1",
        "lamp.py": "m1",
        "admm.py": "a1",
        "dense.py": "n1",
    },
    sections={
        "cell": ["colours.py", "trainer.py"],
        "data digits": ["catalogue.py#digits"],
        "data cifar-10": ["catalogue.py#cifar-10", "cifar.py"],
        "neuron leaky": ["leaky.py"],
        "plan fused cpu": ["kernel.c"],
        "method lamp": ["lamp.py"],
        "method admm": ["admm.py"],
        "method dense": ["dense.py"],
    },
)


def with_file(code: Code, name: str, meaning: str) -> Code:
    """The code after a change of a file."""
    return Code(files=code.files | {name: meaning}, sections=code.sections)


def entry(old: Code, new: Code, covers: list[str] = COVERS, **more: object) -> Entry:
    """A sealed entry from `old` to `new`."""
    fields = {"rules": RULES_VERSION, "before": old.version, "after": new.version}
    fields |= {"covers": covers, "unreached": [], "moved": []}
    fields |= {"environment": "here", "outcomes": "0"} | change(old, new) | more
    return msgspec.convert(fields, Entry).sealed()


def same(lineage: Lineage, kind: Kind, code: Code) -> list[str]:
    digest = code.digest(kind)
    assert digest is not None
    return lineage.same(kind, digest)


def test_the_sections_and_needs_of_a_kind() -> None:
    assert sections_of(DENSE) == [
        "cell",
        "data digits",
        "neuron leaky",
        "method lamp",
        "method dense",
        "plan fused cpu",
    ]
    assert needs(KIND) == ["lamp snn", "leaky images fused"]
    assert needs(DENSE) == [*needs(KIND), "lamp dense", "leaky images fused dense"]
    events = Kind("dpap", "n-mnist", "relu", "step", "cpu", dense=False)
    assert needs(events) == ["dpap ann", "relu events step"]


def test_the_digest_of_a_version_is_over_the_files_of_its_sections() -> None:
    used = {"trainer.py": "t1", "colours.py": "c1", "catalogue.py": "d1", "leaky.py": "l1"}
    used |= {"kernel.c": "k1", "lamp.py": "m1"}
    assert FIRST.digest(KIND) == meanings_digest(used)
    assert FIRST.digest(DENSE) == meanings_digest(used | {"dense.py": "n1"})
    assert FIRST.digest(KIND._replace(method="of-a-plug-in")) is None


@pytest.mark.parametrize("dense", [False, True])
def test_the_code_in_sections_gives_the_digest_of_every_kind(dense: bool) -> None:
    code = code_now()
    for method, data, neuron, plan, device in (
        ("magnitude", "digits", "leaky", "fused", "cpu"),
        ("dpap-st", "n-mnist", "synaptic", "fused", "cuda"),
        ("admm", "cifar-10", "relu", "step", "cpu"),
        ("dense", "imagenet", "leaky", "folded", "cuda"),
        ("sca", "digits-dvs", "leaky", "fused", "cpu"),
    ):
        kind = Kind(method, data, neuron, plan, device, dense)
        assert code.digest(kind) == kind_digest(kind), kind


def test_a_covered_change_leaves_records_valid() -> None:
    second = with_file(FIRST, "trainer.py", "t2")
    lineage = Lineage(second, [entry(FIRST, second)])
    for kind in (KIND, DENSE, OTHER, CIFAR):
        assert same(lineage, kind, second) == [FIRST.digest(kind), second.digest(kind)]
        assert same(lineage, kind, FIRST) == same(lineage, kind, second)


def test_without_an_entry_only_the_digest_itself_is_valid() -> None:
    assert Lineage(None, []).same(KIND, "1") == ["1"]
    assert same(Lineage(FIRST, []), KIND, FIRST) == [FIRST.digest(KIND)]
    second = with_file(FIRST, "trainer.py", "t2")
    lineage = Lineage(second, [entry(FIRST, second)])
    edited = with_file(second, "trainer.py", "t3")  # on disk, and not accepted
    assert same(lineage, KIND, edited) == [edited.digest(KIND)]
    assert lineage.same(KIND._replace(method="of-a-plug-in"), "1") == ["1"]


@pytest.mark.parametrize("missing", needs(DENSE))
def test_an_entry_counts_only_for_what_its_canaries_cover(missing: str) -> None:
    second = with_file(FIRST, "trainer.py", "t2")
    covers = [one for one in COVERS if one != missing]
    lineage = Lineage(second, [entry(FIRST, second, covers)])
    for kind in (KIND, DENSE, OTHER):
        valid = FIRST.digest(kind) in same(lineage, kind, second)
        assert valid == (missing not in needs(kind)), kind


def test_cells_on_a_gpu_are_not_covered() -> None:
    first = Code(files=FIRST.files, sections=FIRST.sections | {"plan fused cuda": ["kernel.c"]})
    second = with_file(first, "trainer.py", "t2")
    cuda = KIND._replace(device="cuda")
    lineage = Lineage(second, [entry(first, second)])
    assert same(lineage, cuda, second) == [second.digest(cuda)]
    assert len(same(lineage, KIND, second)) == 2


def test_a_file_that_no_canary_runs_makes_its_cells_stale() -> None:
    second = with_file(with_file(FIRST, "cifar.py", "r2"), "trainer.py", "t2")
    lineage = Lineage(second, [entry(FIRST, second, unreached=["cifar.py"])])
    assert len(same(lineage, KIND, second)) == 2
    assert same(lineage, CIFAR, second) == [second.digest(CIFAR)]


def test_entries_form_a_chain_with_the_oldest_digest_first() -> None:
    second = with_file(FIRST, "trainer.py", "t2")
    third = with_file(second, "lamp.py", "m2")
    fourth = with_file(third, "colours.py", "c2")
    entries = [entry(FIRST, second), entry(second, third, []), entry(third, fourth)]
    lineage = Lineage(fourth, entries)
    # `lamp` moved in the second entry; what is before it is equal, and what is after it.
    assert same(lineage, KIND, FIRST) == [FIRST.digest(KIND), second.digest(KIND)]
    assert same(lineage, KIND, fourth) == [third.digest(KIND), fourth.digest(KIND)]
    # For `admm` the second entry changes nothing.
    digests = [code.digest(OTHER) for code in (FIRST, second, fourth)]
    assert same(lineage, OTHER, fourth) == digests


def test_two_branches_are_joined_by_their_common_version() -> None:
    left, right = with_file(FIRST, "trainer.py", "t2"), with_file(FIRST, "colours.py", "c2")
    merged = with_file(left, "colours.py", "c2")
    entries = [entry(FIRST, left), entry(FIRST, right), entry(left, merged)]
    found = same(Lineage(merged, entries), KIND, merged)
    assert set(found) == {code.digest(KIND) for code in (FIRST, left, right, merged)}
    assert found[0] == FIRST.digest(KIND)


def test_files_join_and_leave_sections() -> None:
    second = Code(
        files={name: FIRST.files[name] for name in FIRST.files if name != "colours.py"}
        | {"loop.py": "o1"},
        sections=FIRST.sections
        | {
            "cell": ["loop.py", "trainer.py"],
            "method new": ["lamp.py"],
            "method admm": ["dense.py"],
        },
    )
    lineage = Lineage(second, [entry(FIRST, second)])
    for kind in (KIND, OTHER):
        assert same(lineage, kind, second) == [FIRST.digest(kind), second.digest(kind)]


def test_an_edited_entry_is_refused_and_a_forged_one_connects_nothing() -> None:
    second = with_file(FIRST, "trainer.py", "t2")
    true = entry(FIRST, second, ["admm snn", "leaky images fused"])
    edited = replace(true, covers=COVERS)
    with pytest.raises(BenchError, match=r"entry 2 of results/lineage.json was edited: .* restore"):
        Lineage(second, [true, edited])
    forged = entry(FIRST, second, files={"trainer.py": ("t0", "t2")})
    assert same(Lineage(second, [forged]), KIND, second) == [second.digest(KIND)]


def test_entries_of_other_rules_do_not_count() -> None:
    second = with_file(FIRST, "trainer.py", "t2")
    lineage = Lineage(second, [entry(FIRST, second, rules=RULES_VERSION + 1)])
    assert same(lineage, KIND, second) == [second.digest(KIND)]


def test_files_are_written_line_by_line_and_read_again(tmp_path: Path) -> None:
    assert read_accepted(tmp_path) is None
    assert read_lineage(tmp_path).same(KIND, "1") == ["1"]
    second = with_file(FIRST, "trainer.py", "t2")
    accepted = Accepted(generation=3, unreached=["cifar.py"], code=second)
    write_accepted(tmp_path, accepted)
    assert read_accepted(tmp_path) == accepted
    assert '  "leaky.py": "l1",\n' in (tmp_path / CODE).read_text()
    append_entry(tmp_path, entry(FIRST, second))
    assert len(same(read_lineage(tmp_path), KIND, second)) == 2
    assert read_lineage(tmp_path) is read_lineage(tmp_path)
    third = with_file(second, "trainer.py", "t3")
    append_entry(tmp_path, entry(second, third))
    write_accepted(tmp_path, replace(accepted, code=third))
    assert len(same(read_lineage(tmp_path), KIND, third)) == 3
    write_accepted(tmp_path, replace(accepted, rules=RULES_VERSION + 1))
    assert read_accepted(tmp_path) is None


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    write_accepted(tmp_path, Accepted(generation=1, unreached=[], code=FIRST))
    append_entry(tmp_path, entry(with_file(FIRST, "trainer.py", "t0"), FIRST))
    text = json.loads((tmp_path / LINEAGE).read_text())
    text["entries"][0]["unreached"] = ["lamp.py"]
    (tmp_path / LINEAGE).write_text(json.dumps(text))
    with pytest.raises(BenchError, match="was edited"):
        read_lineage(tmp_path)
    (tmp_path / LINEAGE).write_text("{")
    with pytest.raises(BenchError, match="cannot be read"):
        read_lineage(tmp_path)


STEPS = """
import sys
from pathlib import Path
from pipelines.boards.params import load_params
from pipelines.records.digest import ROOT, code_now, equal_digests, joint_digest, kind_of
from pipelines.records.lineage import *
spec = load_params(ROOT).spec("digits-snn", "lamp", "structured", 0.25, 0, admit=False)
kind, code = kind_of(spec), code_now()
"""
ACCEPT = """
old = read_accepted(ROOT)
fields = change(old.code, code)
append_entry(ROOT, Entry(
    rules=1, before=old.code.version, after=code.version, covers=needs(kind), unreached=[],
    moved=[], environment="here", outcomes="0", **fields,
))
write_accepted(ROOT, Accepted(generation=1, unreached=[], code=code))
"""
TELL = "print(*equal_digests(kind), joint_digest([kind]))\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages and settings, without records."""
    for name in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("params.yaml", "methods.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(tree: Path, code: str) -> list[str]:
    """What a process with the code of a tree prints."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS + code],
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_statements_in_another_order_are_stale_until_they_are_accepted(tree: Path) -> None:
    first = "write_accepted(ROOT, Accepted(generation=1, unreached=[], code=code))\n"
    (old, joint) = run(tree, first + TELL)
    file = tree / "pipelines" / "training" / "cell.py"
    text = file.read_text()
    lines = "    prefer_huge_pages()\n    keep_freed_memory()\n"
    assert lines in text
    file.write_text(text.replace(lines, "".join(reversed(lines.splitlines(keepends=True)))))
    new, other_joint = run(tree, TELL)
    assert new != old
    assert other_joint != joint
    assert run(tree, ACCEPT + TELL) == [old, new, joint], "the digest for DVC is the old one"
