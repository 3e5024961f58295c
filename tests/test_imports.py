"""Imports point one way, and importing does no work."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    file for folder in ("baselines", "dpap", "pipelines") for file in (ROOT / folder).rglob("*.py")
)

#: package prefix -> prefixes of our own that it may import, the most specific rule first.
ALLOWED = {
    "pipelines.cli": ("baselines", "dpap", "pipelines"),
    "pipelines.authoring": ("baselines", "dpap", "pipelines"),
    "pipelines.publishing": ("pipelines",),
    "pipelines.submission": ("pipelines.audit", "pipelines.core", "pipelines.grid"),
    "pipelines.archives": ("pipelines.core",),
    "pipelines.second_run": ("pipelines.audit", "pipelines.core", "pipelines.engine"),
    "pipelines.audit": ("pipelines.core", "pipelines.plausibility"),
    "pipelines.plausibility": ("pipelines.core",),
    "pipelines.export": ("pipelines",),
    "pipelines.planning": ("pipelines.core", "pipelines.grid", "pipelines.plan"),
    "pipelines.plan": ("pipelines.core", "pipelines.grid", "pipelines.calibration"),
    "pipelines.calibration": ("pipelines.core",),
    "pipelines.network_file": ("pipelines.core",),
    "pipelines.nir_graph": ("pipelines.core",),
    "pipelines.contract": ("baselines", "pipelines.core", "pipelines.contract"),
    "pipelines.tuning": (
        "baselines",
        "pipelines.core",
        "pipelines.engine",
        "pipelines.grid",
        "pipelines.search",
        "pipelines.spaces",
    ),
    "pipelines.search": ("pipelines.core", "pipelines.spaces"),
    "pipelines.scaffold": (
        "baselines",
        "pipelines.core",
        "pipelines.grid",
        "pipelines.params_file",
    ),
    "pipelines.params_file": ("pipelines.core", "pipelines.yaml_reader"),
    "pipelines.listing": ("pipelines.core", "pipelines.grid"),
    "pipelines.spaces": (),
    "pipelines.yaml_reader": (),
    "pipelines.engine": ("baselines", "dpap", "pipelines.core", "pipelines.engine"),
    "pipelines.report": (
        "baselines",
        "dpap",
        "pipelines.core",
        "pipelines.grid",
        "pipelines.report",
        "pipelines.yaml_reader",
    ),
    "pipelines.grid": (
        "baselines",
        "pipelines.core",
        "pipelines.board",
        "pipelines.spaces",
        "pipelines.yaml_reader",
    ),
    "pipelines.board": ("baselines", "pipelines.core"),
    "pipelines.core": ("baselines", "dpap", "pipelines.core"),
    "dpap": ("baselines", "dpap"),
    "baselines": ("baselines",),
}
OWN = ("baselines", "dpap", "pipelines")


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert all(alias.name != "*" for alias in node.names), f"{file}: star import"
            found.add(node.module or "")
    return {name for name in found if name.split(".")[0] in OWN}


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_direction(file: Path) -> None:
    name = module_name(file)
    allowed = next((v for k, v in ALLOWED.items() if name == k or name.startswith(f"{k}.")), ())
    for imported in imports(file):
        assert any(imported == a or imported.startswith(f"{a}.") for a in allowed), (
            f"{name} must not import {imported}"
        )


def test_methods_do_not_import_each_other() -> None:
    from pipelines.core.methods import methods, source_files

    files = {file for name in methods() for file in source_files(name)}
    names = {module_name(file) for file in files if file.parent.name == "baselines"}
    for name in names:
        file = ROOT / f"{name.replace('.', '/')}.py"
        assert not imports(file) & (names - {name})
    for file in (ROOT / "dpap").rglob("*.py"):
        assert not imports(file) & names, "dpap may import the contract and what is shared"


def test_modules_are_short() -> None:
    for file in FILES:
        lines = len(file.read_text().splitlines())
        assert lines <= 300, f"{file.relative_to(ROOT)} has {lines} lines; does it do one job?"


def output(code: str) -> str:
    """What a fresh interpreter prints last."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.splitlines()[-1]


def loaded(module: str, watched: set[str]) -> str:
    """Which of the watched packages a fresh interpreter loads with `module`."""
    return output(f"import sys, {module}; print(sorted({watched} & set(sys.modules)))")


def test_the_command_line_starts_without_torch() -> None:
    assert loaded("pipelines.cli", {"torch", "pydantic", "mlflow", "vl_convert"}) == "[]"


def test_records_are_read_without_torch() -> None:
    assert loaded("pipelines.report.build", {"torch", "snntorch", "mlflow"}) == "[]"
    code = (
        "import sys; from pathlib import Path; from pipelines.core.store import Store; "
        "from pipelines.grid import load_params; params = load_params(Path.cwd()); "
        "assert params.everything('embedded', Store(Path('nowhere'))); "
        "print('torch' in sys.modules)"
    )
    assert output(code) == "False"


def test_a_training_process_never_imports_the_report() -> None:
    assert loaded("pipelines.engine", {"mlflow", "vl_convert"}) == "[]"


@pytest.mark.parametrize("topic", ["methods", "workloads", "boards", "data"])
def test_listing_needs_no_torch(topic: str) -> None:
    code = (
        f"import sys; from pipelines.cli import app; app(['list', '{topic}'], "
        "standalone_mode=False); print('torch' in sys.modules)"
    )
    assert output(code) == "False"
