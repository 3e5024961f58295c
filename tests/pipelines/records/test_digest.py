"""The digest of the code of a cell: which files count for which cells, and what of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import InputError
from pipelines.methods.catalogue import infos
from pipelines.records.digest import (
    Kind,
    code_digest,
    digest_of,
    joint_digest,
    kind_digest,
    kind_of,
    method_meanings,
    parts_of,
)
from tests.helpers.diverged import digits_cell
from tests.helpers.mutation import PACKAGES, changed, our_files, reworded
from tests.helpers.paths import ROOT

CPU = Kind("magnitude", "digits", "leaky", "fused", "cpu", dense=False)
GPU = CPU._replace(device="cuda")
FOLDED = CPU._replace(plan="folded")
POST = CPU._replace(dense=True)
DPAP = Kind("dpap", "n-mnist", "synaptic", "step", "cpu", dense=False)
ANN = Kind("admm", "cifar-10", "relu", "folded", "cuda", dense=False)
KINDS = (CPU, GPU, FOLDED, POST, DPAP, ANN)
CATALOGUE = "pipelines/data/catalogue.py"


@pytest.fixture(scope="module")
def files() -> dict[Path, bytes]:
    return our_files()


def digest(kind: Kind, files: dict[Path, bytes]) -> str:
    return digest_of(parts_of(kind, files.get), files.get)


def affected(files: dict[Path, bytes], changes: dict[Path, bytes]) -> set[Kind]:
    """The kinds of cells whose digest some changed or added files change."""
    return {kind for kind in KINDS if digest(kind, files) != digest(kind, files | changes)}


def edit(files: dict[Path, bytes], name: str, old: str, new: str) -> dict[Path, bytes]:
    path = ROOT / name
    assert old.encode() in files[path]
    return {path: files[path].replace(old.encode(), new.encode(), 1)}


@pytest.mark.slow
def test_comments_docstrings_and_formatting_of_no_module_count(
    params: Params, files: dict[Path, bytes]
) -> None:
    other = {path: reworded(path, content) for path, content in files.items()}
    assert other != files
    cells = [cell for board in params.boards for cell in params.cells(board, admit=False)]
    for kind in {*KINDS, *map(kind_of, cells)}:
        assert digest(kind, files) == digest(kind, other), kind


@pytest.mark.slow
def test_a_constant_counts_for_the_cells_that_use_its_file_and_for_no_others(
    files: dict[Path, bytes],
) -> None:
    few = (CPU, GPU, DPAP)
    parts = {kind: {part.file for part in parts_of(kind).values()} for kind in few}
    before = {kind: digest(kind, files) for kind in few}
    for path, content in files.items():
        after = files | {path: changed(path, content)}
        for kind in few:
            changes = digest(kind, after) != before[kind]
            assert changes == (path in parts[kind]), (path, kind)


def test_a_constant_of_a_method_counts_for_its_own_cells(files: dict[Path, bytes]) -> None:
    after = files | edit(
        files, "baselines/firing_rate.py", "momentum: float = 0.9", "momentum: float = 0.91"
    )
    for name in infos():
        kind = CPU._replace(method=name)
        assert (digest(kind, files) != digest(kind, after)) == (name == "firing_rate")


def test_the_files_that_a_cell_uses() -> None:
    parts = set(parts_of(CPU))
    assert {
        "baselines/magnitude.py",
        "baselines/shared/selection.py",
        "pipelines/data/sets/digits.py",
        "pipelines/kernels/cpu/moments.h",
        "pipelines/kernels/cpu/norm_scan.c",
        "pipelines/kernels/cpu/vectors.h",
        "pipelines/networks/neurons/leaky.py",
        "pipelines/networks/plans/fused_cpu.py",
        "pipelines/training/trainer.py",
    } <= parts
    rooms = {"/".join(name.split("/")[:2]) for name in parts}
    assert not rooms & {f"pipelines/{room}" for room in ("boards", "cli", "engines", "report")}
    assert "pipelines/records/store.py" not in parts
    dpap = set(parts_of(DPAP))
    assert {"dpap/__init__.py", "dpap/pruner.py"} <= dpap
    assert not {name for name in dpap if name.startswith("dpap/attachment/")}, "no cell attaches"
    assert set(parts_of(POST)) - parts == {"baselines/dense.py"}
    assert {name for name in parts ^ set(parts_of(GPU)) if name.startswith("pipelines/")} == {
        "pipelines/kernels/cpu/norm_scan.c",
        "pipelines/kernels/cpu/norm_scan.py",
        "pipelines/kernels/cpu/spike_convolution.c",
        "pipelines/kernels/cpu/spike_convolution.py",
        "pipelines/kernels/gpu/norm_scan.py",
        "pipelines/kernels/gpu/norm_triton.py",
        "pipelines/kernels/gpu/scan.py",
        "pipelines/kernels/gpu/scan_triton.py",
        "pipelines/kernels/gpu/window_triton.py",
        "pipelines/networks/plans/fused_cpu.py",
        "pipelines/networks/plans/fused_gpu.py",
    }


def test_additions_count_for_no_cell_that_was_there(files: dict[Path, bytes]) -> None:
    row = '    "new": Source("new", "new", Size((1, 8, 8), 10, 1, 1, 1)),\n'
    for new in (
        {ROOT / "pipelines/data/sets/new.py": b"A = 1\n"}
        | edit(files, CATALOGUE, "SOURCES = {\n", f"SOURCES = {{\n{row}"),
        {ROOT / "baselines/new.py": files[ROOT / "baselines/magnitude.py"]},
        {ROOT / "pipelines/networks/neurons/new.py": b"A = 1\n"},
        {ROOT / "pipelines/kernels/gpu/new_triton.py": b"A = 1\n"},
        {ROOT / "pipelines/kernels/cpu/new.c": b"int a;\n"},
        {ROOT / "pipelines/report/new.py": b"A = 1\n"},
    ):
        assert not affected(files, new), new


def test_changes_count_where_they_are_used(files: dict[Path, bytes]) -> None:
    def of(name: str, old: str, new: str) -> set[Kind]:
        return affected(files, edit(files, name, old, new))

    assert of("baselines/magnitude.py", "p: int = 2", "p: int = 1") == {
        kind for kind in KINDS if kind.method == "magnitude"
    }
    assert of("baselines/dense.py", "return None", "return 1") == {POST}
    assert of("baselines/shared/groups.py", "==", "!=") == set(KINDS)
    assert of(CATALOGUE, "1_167, 180, 450", "1_167, 180, 451") == {CPU, GPU, FOLDED, POST}
    assert of(CATALOGUE, "class Size:", "class Size(tuple):") == set(KINDS)
    assert of("pipelines/networks/neurons/synaptic.py", "ALPHA = 0.8", "ALPHA = 0.9") == {DPAP}
    assert of("pipelines/kernels/gpu/scan_triton.py", "1.0", "2.0") == {GPU}
    assert of("pipelines/kernels/cpu/norm_scan.c", " + ", " - ") == {CPU, POST}
    assert of("pipelines/training/schedule.py", "math.pi", "3.1") == set(KINDS)
    assert not of("pipelines/records/digest.py", '"cpu"', '"tpu"')


def test_an_import_inside_a_function_counts(files: dict[Path, bytes]) -> None:
    lazy = edit(
        files,
        "baselines/magnitude.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\ndef f():\n    from baselines import lamp\n",
    )
    with_lamp = files | lazy
    lamp = ROOT / "baselines" / "lamp.py"
    other = with_lamp | {lamp: changed(lamp, files[lamp])}
    assert digest(CPU, with_lamp) != digest(CPU, other)
    assert digest(DPAP, with_lamp) == digest(DPAP, other)


def test_every_method_depends_on_its_own_files(files: dict[Path, bytes]) -> None:
    for name in infos():
        own = set(method_meanings(name))
        folder = "dpap" if name.startswith("dpap") else "baselines"
        assert own
        assert all(file.startswith(f"{folder}/") for file in own)
        assert not any(file.startswith("baselines/shared") for file in own)
        assert own <= set(parts_of(CPU._replace(method=name)))
    assert set(method_meanings("dpap")) >= {"dpap/pruner.py", "dpap/survival.py"}


def test_cells_of_a_kind_share_a_digest(params: Params) -> None:
    cell = digits_cell(params)
    assert code_digest(cell) == kind_digest(kind_of(cell))
    assert code_digest(cell) == code_digest(replace(cell, seed=7, density=0.5))
    assert code_digest(cell) == code_digest(replace(cell, control="shuffled"))
    assert code_digest(cell) != code_digest(replace(cell, control="reinit"))
    assert code_digest(cell) != code_digest(replace(cell, method="lamp"))
    kinds = [CPU, GPU]
    assert joint_digest(kinds) == joint_digest([GPU, CPU, CPU]) != joint_digest([CPU])


def test_unknown_names_are_refused(params: Params) -> None:
    with pytest.raises(InputError, match="unknown method 'magnitud'"):
        kind_digest(CPU._replace(method="magnitud"))
    with pytest.raises(InputError, match="unknown data set 'digit'"):
        kind_digest(CPU._replace(data="digit"))


def python(code: str, *folders: Path, cwd: Path | None = None) -> str:
    """What a fresh interpreter prints last."""
    path = os.pathsep.join(map(str, folders))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


SETUP = """
import sys
from pathlib import Path
from pipelines.boards.params import load_params
from pipelines.common.errors import BenchError
from pipelines.records.digest import *
spec = load_params(Path({root!r})).spec(
    "digits-snn", "magnitude", "structured", 0.25, 0, admit=False
)
"""


@pytest.mark.slow
def test_a_run_loads_no_module_that_its_digest_misses(params: Params, data_root: Path) -> None:
    code = (
        SETUP.format(root=str(ROOT))
        + f"""
from msgspec.structs import replace
from pipelines.training.cell import run_cell
recipe = spec.settings.recipe.model_copy(update=dict(epochs=1))
network = spec.settings.network.model_copy(update=dict(layout="2C3-MP4-4FC", time_steps=2))
settings = spec.settings.model_copy(update=dict(recipe=recipe, network=network))
spec = replace(spec, settings=settings)
record = run_cell(spec, Path({str(data_root)!r}))
assert record.status in ("ok", "off-target"), record
ours = [m for n, m in sys.modules.items() if n.partition(".")[0] in PACKAGES]
loaded = {{Path(m.__file__).relative_to(ROOT).as_posix() for m in ours}}
print(*sorted(loaded - set(parts_of(kind_of(spec)))))
"""
    )
    missed = python(code, ROOT).split()
    methods = ("baselines/", "dpap/")  # the registry imports them all
    setup = ("pipelines/boards/", "pipelines/common/yaml.py")  # `load_params`
    gpu = ("pipelines/kernels/gpu/", "pipelines/networks/plans/fused_gpu.py")  # unused on a CPU
    bookkeeping = tuple(
        f"pipelines/records/{name}.py" for name in ("digest", "lineage", "syntax", "user_modules")
    )
    bookkeeping += ("pipelines/settings/rules.py", "pipelines/methods/catalogue.py")
    known = (*methods, *setup, *gpu, *bookkeeping)
    assert not [name for name in missed if not name.startswith(known)]
    assert "pipelines/records/digest.py" in missed


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, which a test may edit, behind a symbolic link."""
    folder = tmp_path_factory.mktemp("copy")
    for name in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("params.yaml", "methods.yaml"):
        shutil.copy(ROOT / name, folder / name)
    link = tmp_path_factory.mktemp("link") / "packages"
    link.symlink_to(folder)
    return link


def test_a_process_has_the_digest_of_what_it_imported(copy: Path) -> None:
    """Edits of a module that is imported, of one that is not, and of C code."""
    code = (
        SETUP.format(root=str(copy))
        + """
def edit(name, old, new):
    file = Path(name)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))

def refusal():
    try:
        require_unchanged(spec)
    except BenchError as error:
        return str(error)

assert "torch" not in sys.modules
before = code_digest(spec)
for name in ("settings/layout.py", "training/loss.py", "kernels/scan.py"):
    edit(f"pipelines/{name}", '"\"\"', '"\"\"More. ')
assert refusal() is None
edit("pipelines/settings/workload.py", 'Field(0.1, gt=0, le=1)', 'Field(0.2, gt=0, le=1)')
assert refusal().split(" changed ")[0].endswith("workload.py"), refusal()
assert code_digest(spec) == before
edit("pipelines/settings/workload.py", 'Field(0.2, gt=0, le=1)', 'Field(0.1, gt=0, le=1)')
assert refusal() is None

edit("baselines/magnitude.py", "p: int = 2", "p: int = 1")
assert code_digest(spec) == before
assert refusal().split(" changed ")[0].endswith("magnitude.py"), refusal()
import baselines.magnitude
assert baselines.magnitude.Magnitude.p == 1
after = code_digest(spec)
assert after != before and refusal() is None

edit("pipelines/kernels/cpu/vectors.h", "BYTES = 32", "BYTES = 16")
assert refusal() is None if spec.settings.execution.plan != "fused" else "vectors.h" in refusal()
print("done")
"""
    )
    assert python(code, copy, cwd=copy) == "done"


@pytest.mark.slow
def test_a_worker_whose_method_was_edited_stops(copy: Path, data_root: Path) -> None:
    code = (
        SETUP.format(root=str(copy))
        + f"""
from pipelines.methods.registry import methods
methods()
file = Path("baselines/magnitude.py")
file.write_text(file.read_text() + "\\nRATE = 0.91\\n")
from pipelines.training.cell import run_cell
try:
    run_cell(spec, Path({str(data_root)!r}))
except BenchError as error:
    print(error)
"""
    )
    sentence = python(code, copy, cwd=copy)
    assert "baselines/magnitude.py changed after this process had imported it" in sentence
    assert "run the same command again" in sentence


PLUGIN = {
    "mine/__init__.py": "",
    "mine/method.py": """
from baselines.lamp import Lamp
from dataclasses import dataclass, replace
from theirs.base import Base
from .near import A
import mine.dotted
from mine import named

@dataclass
class Mine(Base):
    info = replace(Lamp.info, name="mine")
""",
    "mine/near.py": "A = 1\n",
    "mine/dotted.py": "A = 1\n",
    "mine/named.py": "A = 1\n",
    "mine/unused/__init__.py": "",
    "mine/unused/deep.py": "A = 1\n",
    "mine/kernel.c": "int a;\n",
    "mine_too.py": "A = 1\n",
    "theirs/__init__.py": "",
    "theirs/base.py": "from baselines.shared.contract import Pruner\nclass Base(Pruner): pass\n",
    "theirs/other.py": "A = 1\n",
    "stranger.py": "A = 1\n",
    "mine-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: mine\nVersion: 1\n",
    "mine-1.dist-info/entry_points.txt": "[dpap_bench.methods]\nmine = mine.method:Mine\n",
    "mine-1.dist-info/top_level.txt": "mine\nmine_too\n",
}


@pytest.mark.slow
def test_a_plugin_counts_whole(tmp_path: Path) -> None:
    for name, text in PLUGIN.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = (
        SETUP.format(root=str(ROOT))
        + """
kind = kind_of(spec)._replace(method="mine")
parts = parts_of(kind)
before = kind_digest(kind)
for part in parts.values():
    def more(file):
        text = file.read_bytes() if file.exists() else None
        addition = b"\\nenum { A };" if file.suffix == ".c" else b"\\nZ = 1"
        return text + addition if file == part.file else text

    if part.file.suffix in (".py", ".c"):
        assert digest_of(parts_of(kind, more), more) != before, part.file
ours = set(parts_of(kind_of(spec))) - {"baselines/magnitude.py"}
print(*sorted(set(parts) - ours))
"""
    )
    found = set(python(code, tmp_path, ROOT).split())
    mine = {name for name in PLUGIN if name.startswith("mine") and "dist-info" not in name}
    assert found >= mine
    assert "theirs/base.py" in found, "the file of a base class in a library"
    assert "baselines/lamp.py" in found
    assert not found & {"stranger.py", "theirs/other.py"}
