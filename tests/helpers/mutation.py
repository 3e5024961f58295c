"""Changes of source files: some that mean nothing, and some that mean something."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.helpers.paths import ROOT

PACKAGES = ("baselines", "dpap", "pipelines")


def our_files() -> dict[Path, bytes]:
    """Every source file of the packages, with its content."""
    paths = (path for name in PACKAGES for path in (ROOT / name).rglob("*"))
    return {path: path.read_bytes() for path in paths if path.suffix in {".py", ".c", ".h"}}


class _Docstrings(ast.NodeTransformer):
    """Gives everything another docstring."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            had = ast.get_docstring(node) is not None
            node.body[: int(had)] = [ast.Expr(ast.Constant("Something else."))]
        return node


class _FirstConstant(ast.NodeTransformer):
    """Changes the first constant that is no docstring."""

    def __init__(self) -> None:
        self.done = False

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if self.done:
            return node
        self.done = True
        return ast.Constant(0.91 if node.value != 0.91 else 0.92)


def reworded(path: Path, content: bytes) -> bytes:
    """The same file with other docstrings, comments, blanks and line breaks."""
    if path.suffix == ".py":
        tree = ast.fix_missing_locations(_Docstrings().visit(ast.parse(content)))
        return f"# A comment.\n\n{ast.unparse(tree)}\n\n\n# Another.\n".encode()
    lines, directive = ["// A comment.\n"], False
    for line in content.decode().splitlines():
        directive = line.lstrip().startswith("#") or (directive and lines[-1].endswith("\\\n"))
        lines.append(f"{line}\n" if directive else f"{line.replace(';', '  ; ')}  // more\n\n")
    return "".join(lines).encode()


def changed(path: Path, content: bytes) -> bytes:
    """The same file with another constant, or with one more."""
    if path.suffix != ".py":
        return content + b"enum { MORE = 1 };\n"
    change = _FirstConstant()
    tree = ast.fix_missing_locations(change.visit(ast.parse(content)))
    return f"{ast.unparse(tree)}\n{'' if change.done else 'MORE = 1'}\n".encode()
