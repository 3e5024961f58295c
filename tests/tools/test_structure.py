"""The map of the folders: every module, in the order of the imports, as the page has it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from tests.helpers.paths import ROOT
from tools import structure


def test_the_page_is_what_the_command_prints() -> None:
    """After a module was added, moved or removed: make structure."""
    assert structure.PAGE.read_text() == structure.page()


def test_the_table_has_every_module_of_every_package() -> None:
    table = structure.table()
    tracked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in found.split("\0"):
        file = Path(name)
        if file.suffix == ".py" and file.parts[0] in ("baselines", "dpap", "pipelines"):
            if not (ROOT / file).exists():
                continue  # moved, and not committed yet
            (row,) = (x for x in table.splitlines() if x.startswith(f"| `{file.parent}/` |"))
            summary = (ast.get_docstring(ast.parse((ROOT / file).read_text())) or "").split("\n")[0]
            assert summary in row if file.stem == "__init__" else f"`{file.stem}`" in row


def test_the_table_has_the_order_of_the_imports() -> None:
    rows = [line.split("`")[1] for line in structure.table().splitlines()[2:]]
    contract = ConfigParser()
    contract.read(ROOT / ".importlinter")
    rooms = re.split(r"[\s|:]+", contract["importlinter:contract:rooms"]["layers"].strip())
    found = [row.split("/")[1] for row in rows if re.fullmatch(r"pipelines/\w+/", row)]
    assert found == rooms
    assert rows.index("dpap/") < rows.index("baselines/") < rows.index("baselines/shared/")


def test_the_command_draws_the_page(tmp_path: Path) -> None:
    """In a copy of the tree, whose page has lost its table."""
    for name in ("docs", "tools"):
        (tmp_path / name).mkdir()
    for name in ("baselines", "dpap", "pipelines", ".importlinter"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "tools" / "structure.py").write_text(Path(structure.__file__).read_text())
    page = tmp_path / "docs" / "structure.md"
    page.write_text(f"before\n{structure.BEGIN}\nstale\n{structure.END}\nafter\n")
    command = [sys.executable, "-m", "tools.structure"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=True)
    assert page.read_text() == (
        f"before\n{structure.BEGIN}\n\n{structure.table()}\n\n{structure.END}\nafter\n"
    )
