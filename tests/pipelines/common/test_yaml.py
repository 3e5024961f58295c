"""YAML: what is written is read back; keys that are there twice and aliases are refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pipelines.common.yaml import read_yaml, write_yaml


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_document_is_none(text: str) -> None:
    assert read_yaml(text) is None


def test_values_have_their_types() -> None:
    text = "a: 1\nb: 0.5\nc: true\nd: text\ne: [1, two, {three: 3}]\nf:\n  g: null\n"
    assert read_yaml(text) == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": "text",
        "e": [1, "two", {"three": 3}],
        "f": {"g": None},
    }


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "a", 3),
        ("a:\n  b:\n    c: 1\n    c: 2\n", "c", 4),
        ("a:\n  - b: 1\n  - c: 1\n    d: 1\n    c: 2\n", "c", 5),
        ("a: {b: 1, b: 1}\n", "b", 1),
        ("a: 1\n'a': 2\n", "a", 2),
        ("1: a\n1: b\n", "1", 2),
    ],
    ids=["top", "nested", "in a list", "flow style", "quoted", "a number"],
)
def test_a_key_that_is_there_twice_is_refused(text: str, key: str, line: int) -> None:
    with pytest.raises(yaml.YAMLError, match=f"key '{key}' in line {line} is there twice"):
        read_yaml(text)


def test_the_same_key_in_two_mappings_is_no_fault() -> None:
    assert read_yaml("a: {x: 1}\nb: {x: 2}\n") == {"a": {"x": 1}, "b": {"x": 2}}


def test_a_number_and_a_text_are_two_keys() -> None:
    assert read_yaml("1: a\n'1': b\n") == {1: "a", "1": "b"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: &x 1\nb: *x\n", 1),
        ("a: 1\nb: &x {c: 1}\nd:\n  e: *x\n", 2),
        ("a: &x {c: 1}\nb:\n  <<: *x\n  d: 2\n", 1),
        ("a: &x [1]\nb: [*x, *x]\n", 1),
        ("a: &x\n  - *x\n", 1),
    ],
    ids=["scalar", "mapping", "merge key", "list", "within itself"],
)
def test_an_alias_is_refused(text: str, line: int) -> None:
    with pytest.raises(yaml.YAMLError, match=f"line {line} is used a second time by an alias"):
        read_yaml(text)


def test_an_anchor_without_an_alias_is_no_fault() -> None:
    assert read_yaml("a: &x 1\n") == {"a": 1}


@pytest.mark.parametrize("text", ["a: [", "a: 'b", "a: b: c", "\tx: 1", "a: 1\n---\nb: 2\n"])
def test_other_text_is_no_document(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


def test_a_python_object_is_not_built() -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml("a: !!python/object/apply:os.getcwd []\n")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"b": 1, "a": {"y": [1, 2.5, "3", None, True], "x": {}}},
        {"text": "on", "number": "1e5", "date": "2026-01-02", "long": "word " * 60, "é": "ü"},
        {"shared": [[0.1, 0.2], [0.1, 0.2]], "small": 1e-7},
    ],
)
def test_what_is_written_is_read_back_in_its_order(value: dict[str, Any]) -> None:
    found = read_yaml(write_yaml(value))
    assert found == value
    assert list(found) == list(value)


def test_a_heading_becomes_comments() -> None:
    text = write_yaml({"a": {"b": 1}}, "First line.\nSecond line.")
    assert text == "# First line.\n# Second line.\na: {b: 1}\n"


def test_an_object_that_is_used_twice_is_refused_on_reading() -> None:
    """PyYAML writes it as an anchor and an alias, which nobody should find in a file."""
    one = {"low": 0.0}
    with pytest.raises(yaml.YAMLError, match="by an alias"):
        read_yaml(write_yaml({"a": one, "b": one}))
