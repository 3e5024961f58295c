"""Where things live: draws the table of docs/structure.md from the tree.

``make structure`` runs ``python -m tools.structure``, which writes the table between the markers of
the page. A package is described by the first line of its docstring; ``.importlinter`` gives the
order.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "structure.md"
BEGIN, END = "<!-- tree: make structure -->", "<!-- end of tree -->"


def layers() -> dict[str, list[str]]:
    """Names in each package, from the top layer down to the lowest, as .importlinter lists them.

    Returns
    -------
    dict
        By the dotted name of the package; the top-level packages are under an empty name.
    """
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter")
    return {
        contract.get("containers", "").strip(): re.split(r"[\s|:]+", contract["layers"].strip())
        for contract in contracts.values()
        if "layers" in contract
    }


def packages(above: str = "") -> Iterator[Path]:
    """Yield the packages inside the package `above`, each followed by its own."""
    order = layers().get(above, [])
    folders = [
        folder
        for folder in (ROOT / above.replace(".", "/")).iterdir()
        if (folder / "__init__.py").exists() and (above or folder.name in order)
    ]
    rank = {name: place for place, name in enumerate(order)}
    for folder in sorted(folders, key=lambda one: (rank.get(one.name, len(rank)), one.name)):
        yield folder
        yield from packages(folder.relative_to(ROOT).as_posix().replace("/", "."))


def summary(package: Path) -> str:
    """First line of a package's docstring.

    Raises
    ------
    BenchError
        If it has none.
    """
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    if not text:
        raise BenchError(f"{package / '__init__.py'} has no docstring: say what the package holds.")
    return text.splitlines()[0]


def table() -> str:
    """One row for each package: its folder, what it holds, its modules."""
    lines = ["| folder | holds | modules |", "| --- | --- | --- |"]
    for package in packages():
        names = sorted(file.stem for file in package.glob("*.py") if file.stem != "__init__")
        modules = ", ".join(f"`{name}`" for name in names)
        folder = package.relative_to(ROOT).as_posix()
        lines.append(f"| `{folder}/` | {summary(package)} | {modules} |")
    return "\n".join(lines)


def page() -> str:
    """Text of the page with the table of the tree as it is now."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    text = page()
    with atomic_file(PAGE) as file:
        file.write(text.encode())
