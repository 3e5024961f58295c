"""What counts in a source file, and what it imports."""

from __future__ import annotations

import pytest

from pipelines.records.syntax import read_c, read_python

SOURCE = b'''"""A module."""
from __future__ import annotations
import os
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from a import Hidden

def f(x, rate=0.9):
    """Compute."""
    return rate * x + 1
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"""A module."""', b"# none\n\n"),
        (b'    """Compute."""\n', b'    "Other."\n    pass\n'),
        (b"rate * x + 1", b"((rate*x)\n            + 1)  # more"),
        (b"f(x, rate=0.9)", b"f(\n    x,\n    rate = 0.90,\n)"),
        (b"import Hidden", b"import Other"),
        (b"\n", b"\r\n"),
    ],
)
def test_comments_docstrings_and_formatting_mean_nothing(old: bytes, new: bytes) -> None:
    assert read_python(SOURCE.replace(old, new)).meaning == read_python(SOURCE).meaning


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"0.9", b"0.91"),
        (b"+ 1", b"- 1"),
        (b"+ 1", b"+ 1.0"),
        (b"+ 1", b"+ True"),
        (b"rate * x + 1", b"rate * (x + 1)"),
        (b"rate=0.9", b"*, rate=0.9"),
        (b"rate=0.9", b"rate=None"),
        (b"rate=0.9", b"rate"),
        (b"import os", b"import sys"),
        (b"def f", b"@cache\ndef f"),
        (b"def f", b"async def f"),
    ],
)
def test_all_else_means_something(old: bytes, new: bytes) -> None:
    assert read_python(SOURCE.replace(old, new)).meaning != read_python(SOURCE).meaning


def test_a_file_that_is_not_python_counts_byte_by_byte() -> None:
    first, second = read_python(b"def ("), read_python(b"def  (")
    assert first.meaning != second.meaning
    assert first.imports == ()


def test_imports_at_any_place_but_for_type_checkers() -> None:
    source = b"""
import a.b
import typing
if typing.TYPE_CHECKING:
    import hidden
else:
    import shown
def f():
    from c import d as e
    class A:
        from . import near
        from .beside import x
        from ..above import y
"""
    assert read_python(source, "p.q").imports == (
        "a.b",
        "typing",
        "shown",
        *("c", "c.d"),
        *("p.q", "p.q.near"),
        *("p.q.beside", "p.q.beside.x"),
        *("p.above", "p.above.y"),
    )


@pytest.mark.parametrize("assignment", [b"ROWS =", b"ROWS: dict[str, int] ="])
def test_one_entry_of_a_table(assignment: bytes) -> None:
    def meaning(rows: bytes) -> str:
        return read_python(assignment + rows, table="ROWS", row="a").meaning

    alone = meaning(b' {"a": 1}')
    assert meaning(b' {"a": 1, "b": 2}') == alone == meaning(b' {"b": 3, "a": 1}')
    assert meaning(b' {"a": 2}') != alone
    assert meaning(b' {"a": 1, **more}') != alone


C = b"""#include "a.h"
#include <math.h>
#define TWICE(x) ((x) + \\
  (x))
/* a
   comment */
int f(int a) { return a+ +a; } // "more"
char *s = "a  /* b */";
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/* a\n   comment */\n", b""),
        (b' // "more"', b"\n\n/* ' */"),
        (b"{ return a+ +a; }", b"{\n\treturn a + +a;\n}"),
        (b"((x) + \\\n  (x))", b"((x)  + (x)) // twice"),
        (b"\n", b"\r\n"),
    ],
)
def test_comments_and_blanks_of_c_mean_nothing(old: bytes, new: bytes) -> None:
    assert old in C
    assert read_c(C.replace(old, new)).meaning == read_c(C).meaning


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"a+ +a", b"a++a"),
        (b"int a", b"inta"),
        (b"a+ +a", b"a- -a"),
        (b"TWICE(x)", b"TWICE (x)"),
        (b"a  /*", b"a /*"),
        (b"b */", b"c */"),
        (b"#include <math.h>\n", b""),
        (b"(x) + \\\n", b"(x) +\n"),
    ],
)
def test_all_else_in_c_means_something(old: bytes, new: bytes) -> None:
    assert old in C
    assert read_c(C.replace(old, new)).meaning != read_c(C).meaning


def test_headers_beside_a_c_file_are_its_imports() -> None:
    assert read_c(C).imports == ("a.h",)
