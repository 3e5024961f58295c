"""Imports run down the layers of .importlinter, and an import loads only what is needed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

FILES = sorted(
    file for folder in ("baselines", "dpap", "pipelines") for file in (ROOT / folder).rglob("*.py")
)

OWN = ("baselines", "dpap", "pipelines")


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> set[str]:
    """Return the modules of this repository that a file imports; all imports must be absolute."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert all(alias.name != "*" for alias in node.names), f"{file}: star import"
            found.add(node.module or "")
    return {name for name in found if name.split(".")[0] in OWN}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the packages in a folder against the contracts of .importlinter."""
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with copies of the packages and of .importlinter."""
    place = tmp_path_factory.mktemp("packages")
    for package in OWN:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, place / package, ignore=ignore)
    shutil.copy(ROOT / ".importlinter", place)
    return place


def test_imports_run_down(packages: Path) -> None:
    done = lint(packages)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "imported"),
    [
        ("pipelines/records/record.py", "pipelines.training.cell"),
        ("pipelines/common/errors.py", "pipelines.settings.spec"),
        ("pipelines/report/statistics/stats.py", "pipelines.report.page.page"),
        ("baselines/magnitude.py", "pipelines.training.trainer"),
        ("dpap/survival.py", "pipelines.common.errors"),
    ],
)
def test_an_upward_import_is_found(packages: Path, file: str, imported: str) -> None:
    path = packages / file
    before = path.read_text()
    path.write_text(f"{before}\nimport {imported}\n")
    try:
        done = lint(packages)
    finally:
        path.write_text(before)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


def test_imports_are_absolute() -> None:
    for file in FILES:
        imports(file)


def test_methods_do_not_import_each_other() -> None:
    from pipelines.methods.registry import methods

    names = {kind.__module__ for kind in methods().values()}
    names = {name for name in names if not name.startswith("dpap.")}
    for name in names:
        file = ROOT / f"{name.replace('.', '/')}.py"
        assert not imports(file) & (names - {name})
    for file in (ROOT / "dpap").rglob("*.py"):
        assert not imports(file) & names, (
            "dpap imports no module of a method, only baselines.shared"
        )


def output(code: str) -> str:
    """Run code in a new interpreter and return the last line that it prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.splitlines()[-1]


def loaded(module: str, watched: set[str]) -> str:
    """Import a module in a new interpreter; return which of the watched packages it loads."""
    return output(f"import sys, {module}; print(sorted({watched} & set(sys.modules)))")


def test_the_command_line_starts_without_torch() -> None:
    assert loaded("pipelines.cli.main", {"torch", "pydantic", "mlflow", "vl_convert"}) == "[]"


def test_records_are_read_without_torch() -> None:
    assert loaded("pipelines.report.build", {"torch", "snntorch", "mlflow"}) == "[]"
    code = (
        "import sys; from pathlib import Path; from pipelines.records.store import Store; "
        "from pipelines.boards.params import load_params; params = load_params(Path.cwd()); "
        "assert params.everything('embedded', Store(Path('nowhere'))); "
        "print('torch' in sys.modules)"
    )
    assert output(code) == "False"


@pytest.mark.slow
def test_a_training_process_never_imports_the_report() -> None:
    assert loaded("pipelines.engines.processes", {"distributed", "mlflow", "vl_convert"}) == "[]"


@pytest.mark.parametrize("topic", ["methods", "workloads", "boards", "data"])
def test_listing_needs_no_torch(topic: str) -> None:
    code = (
        f"import sys; from pipelines.cli.main import app; app(['list', '{topic}'], "
        "standalone_mode=False); print('torch' in sys.modules)"
    )
    assert output(code) == "False"
