"""Damaged files: hypothesis strategies that change bytes, JSON documents and YAML texts."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

#: Examples of a fuzz test: in the default suite, and in the slow one.
FEW, MANY = 40, 10_000

#: Values that a field may have when somebody edits a file, or a disk fails.
ODD: tuple[Any, ...] = (
    None,
    True,
    "",
    "x",
    "../../../x",
    "/etc/x",
    "a/b",
    "..",
    ".",
    "\x00",
    "\ud800",
    "\u202e",
    "=cmd|' /C calc'!A0",
    "| a | b",
    "x" * 5000,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
    0.0,
    -0.5,
    1.5,
    1e308,
    -1e308,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
    [],
    {},
    [[]],
    {"": None},
    {"x": 1},
    [None],
    [1, -1],
    "1970-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
)
#: Pieces of text that formats give a meaning to.
PIECES = (
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"9" * 5000,
    b"1e999",
    b"NaN",
    b"-",
    b'"',
    b"}",
    b"{",
    b"!!python/object/apply:os.getcwd []",
    b"!x ",
    b"&a ",
    b"*a",
    b"<<: {a: 1}",
    b"? [1]",
    b": ",
    b"\t",
    b"\r",
    b"\n",
    b"---\n",
    b"!!binary x",
    b"!!timestamp 0000-99-99",
    b"2001-99-99",
    b"!!float x",
    b"!!set {1}",
    b"1:60:60:60",
    b"0x",
    b"= ",
    b"0b2",
    b"- ",
    b"#",
    b".inf",
    b"~",
    b"\xc2\x85",
)
PLACE = st.floats(0, 1)
TestT = TypeVar("TestT", bound=Callable[..., None])


def fuzz(**strategies: st.SearchStrategy[Any]) -> Callable[[TestT], Any]:
    """Run a test on `FEW` random examples; the number is set by the variable FUZZ_EXAMPLES.

    A failing example is shown as it is. Making it smaller would take longer than reading it.
    """
    return _fuzz(int(os.environ.get("FUZZ_EXAMPLES", FEW)), strategies)


def fuzz_long(**strategies: st.SearchStrategy[Any]) -> Callable[[TestT], Any]:
    """Run a test on `MANY` random examples; `make exhaustive` runs it."""
    return lambda test: pytest.mark.exhaustive(_fuzz(MANY, strategies)(test))


def _fuzz(examples: int, strategies: dict[str, st.SearchStrategy[Any]]) -> Callable[[TestT], Any]:
    options = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: options(given(**strategies)(test))


@st.composite
def damaged(draw: st.DrawFn, content: bytes, header: int = 0) -> bytes:
    """Draw a copy of a file with up to three of its parts changed, doubled, cut or replaced.

    Parameters
    ----------
    draw
        Given by hypothesis.
    content
        The file.
    header
        If it is positive, half of the changes are in this many bytes at the start.
    """
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        size = len(content)
        if header and draw(st.booleans()):
            size = min(header, size)
        at = int(draw(PLACE) * size)
        kind = draw(st.sampled_from(("byte", "cut", "insert", "delete", "double", "replace")))
        if kind == "byte":
            content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at]
        else:
            length = draw(st.integers(0, 16))
            piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
            middle = {
                "insert": piece + content[at : at + length],
                "delete": b"",
                "double": 2 * content[at : at + length],
                "replace": piece,
            }[kind]
            content = content[:at] + middle + content[at + length :]
    return content


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield container and key of each value in a document, at any depth."""
    if not isinstance(document, dict | list):
        return
    for key in list(document) if isinstance(document, dict) else range(len(document)):
        yield document, key
        yield from places(document[key])


@st.composite
def odd_documents(draw: st.DrawFn, document: Any) -> Any:
    """Draw a copy of a document with up to three values replaced, removed or doubled."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        found = list(places(document))
        if not found:
            break
        container, key = found[min(len(found) - 1, int(draw(PLACE) * len(found)))]
        kind = draw(st.sampled_from(("odd", "odd", "odd", "remove", "add", "swap")))
        if kind == "remove":
            del container[key]
        elif kind == "swap":
            other, at = found[min(len(found) - 1, int(draw(PLACE) * len(found)))]
            container[key] = copy.deepcopy(other[at])
        elif kind == "add" and isinstance(container, dict):
            container[draw(st.sampled_from(("x", "", "../x", "\ud800", "=1+1")))] = copy.deepcopy(
                draw(odd_values)
            )
        elif kind == "add":
            container.append(copy.deepcopy(draw(odd_values)))
        else:
            container[key] = copy.deepcopy(draw(odd_values))
    return document


odd_values = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=5)


def as_bytes(document: Any) -> bytes:
    """Return a document as JSON, with numbers that JSON does not have if need be."""
    return json.dumps(document).encode()


def damaged_json(document: Any) -> st.SearchStrategy[bytes]:
    """Draw a damaged copy of a JSON file: bytes that changed, or values."""
    return damaged(as_bytes(document)) | odd_documents(document).map(as_bytes)
