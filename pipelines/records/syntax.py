"""What a source file means: its syntax without comments, docstrings and formatting."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

#: Fields of syntax trees that mean nothing, or that follow from the place of a node.
_IDLE = frozenset(("ctx", "kind", "type_comment", "type_ignores"))
#: Tokens of C, with its comments; a string may hold what looks like one of these.
_C_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\.?\d(?:[eEpP][+-]|[\w.])*|\w+"""
    r"""|<<=|>>=|\.\.\.|->|\+\+|--|<<|>>|&&|\|\||\#\#|[-+*/%&|^<>=!]=|\s+|.""",
    re.DOTALL,
)
_C_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Syntax:
    """What a file means, and what it needs.

    Parameters
    ----------
    meaning
        SHA-256 of its tokens or its syntax tree: files of equal meaning do the same.
    imports
        Of a Python module, the names that it imports, fully dotted: modules, and what it takes out
        of them. Imports inside functions count, those for type checkers do not. Of C code, the
        files that it includes from its own folder.
    """

    meaning: str
    imports: tuple[str, ...]


@cache
def read_python(content: bytes, package: str = "", table: str = "", row: str = "") -> Syntax:
    """Read a Python file; one that is not Python has a meaning for each content.

    Parameters
    ----------
    content
        The file.
    package
        Dotted name of its package, for relative imports.
    table, row
        Name of a dict of the module, and its only key that counts; empty: all of them count.
    """
    reader = _Reader(package, table, row)
    try:
        reader.write(ast.parse(content))
    except (SyntaxError, ValueError, RecursionError):
        return Syntax(hashlib.sha256(content).hexdigest(), ())
    return Syntax(_sha256("".join(reader.parts)), tuple(dict.fromkeys(reader.imports)))


@cache
def read_c(content: bytes) -> Syntax:
    """Read a C file or header."""
    text = content.decode(errors="surrogateescape").replace("\r\n", "\n").replace("\\\n", "")
    return Syntax(_sha256("\n".join(_c_lines(text))), tuple(_C_INCLUDE.findall(text)))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _c_lines(text: str) -> Iterator[str]:
    """Yield the tokens of C code, a blank between two of them; directives are lines of their own.

    Blanks inside a directive stay, but many count as one: ``#define F (x)`` is not ``F(x)``.
    """
    line: list[str] = []
    directive = False
    for piece in _C_TOKEN.findall(text):
        blank = piece.isspace() or piece.startswith(("//", "/*"))
        if directive and piece.isspace() and "\n" in piece:
            yield "".join(line).strip()
            line, directive = [], False
        elif directive:
            line.extend([piece] if not blank else [] if line[-1] == " " else [" "])
        elif piece == "#":
            yield " ".join(line)
            line, directive = ["#"], True
        elif not blank:
            line.append(piece)
    yield "".join(line).strip() if directive else " ".join(line)


class _Reader:
    """Writes a syntax tree as a text that is the same for every version of Python."""

    def __init__(self, package: str, table: str, row: str) -> None:
        self.package = package
        self.table, self.row = table, row
        self.parts: list[str] = []
        self.imports: list[str] = []

    def write(self, value: Any) -> None:
        """Write a node, a list of nodes, or a constant."""
        if isinstance(value, ast.AST):
            self._node(value)
        elif isinstance(value, list):
            self.parts.append("[")
            for one in _effective(value):
                self.write(one)
            self.parts.append("]")
        else:
            self.parts.append(f"{value!r} ")

    def _node(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.imports.extend(_imported(node, self.package))
        elif self.table:
            _keep_row(node, self.table, self.row)
        self.parts.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            # Versions of Python differ in fields that are empty.
            if name not in _IDLE and value is not None and value != []:
                self.parts.append(f"{name}=")
                self.write(value)
        self.parts.append(")")


def _effective(nodes: Iterable[Any]) -> Iterator[Any]:
    """Leave out statements without an effect: docstrings, ``pass``, imports for type checkers."""
    for node in nodes:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _effective(node.orelse)
        elif not (
            isinstance(node, ast.Pass)
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        ):
            yield node


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """Yield the names that a statement imports, and the modules that it takes them from."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    above = package.split(".")[: -(node.level - 1) or None] if node.level else []
    origin = ".".join([*above, *([node.module] if node.module else [])])
    yield origin
    yield from (f"{origin}.{alias.name}" for alias in node.names)


def _keep_row(node: ast.AST, table: str, row: str) -> None:
    """Remove the other entries of a dict, if a node assigns it to the name `table`."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
        return
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if any(isinstance(target, ast.Name) and target.id == table for target in targets):
        entries = [
            (key, value)
            for key, value in zip(node.value.keys, node.value.values, strict=True)
            if not isinstance(key, ast.Constant) or key.value == row
        ]
        node.value.keys = [key for key, _ in entries]
        node.value.values = [value for _, value in entries]
