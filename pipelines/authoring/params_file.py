"""Edits of params.yaml that change no other byte of the file, comments included.

The YAML parser gives the position of each value, and only the text there is replaced. Writing the
whole file again, even with a round-trip YAML library, would move comments and spaces elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.common.yaml import compose_yaml, read_yaml

_INDENT = 2
_TUNED = "# tuned: "


def add_entry(path: Path, keys: Sequence[str], name: str, value: Mapping[str, Any]) -> None:
    """Append an entry to a mapping.

    Parameters
    ----------
    path
        The file.
    keys
        Keys that lead to the mapping.
    name
        Key of the new entry.
    value
        Value of the new entry.

    Raises
    ------
    BenchError
        If there is no such mapping, or the file is written in a way that cannot be edited.
    """
    text = path.read_text()
    found = _find(text, keys)
    parent = wanted = read_yaml(text)
    for key in keys:
        parent = parent[key]
    parent[name] = value
    lines = text.splitlines(keepends=True)
    column = found.value[0][0].start_mark.column if found.value else 0
    lines.insert(_last_line(found) + 1, _written({name: dict(value)}, column))
    _write(path, "".join(lines), wanted)


def set_options(path: Path, method: str, options: Mapping[str, Any], note: str) -> None:
    """Replace values of ``methods: METHOD:``, and note their origin in a comment.

    Parameters
    ----------
    path
        The file.
    method
        Name of the method.
    options
        The new values, by hyper-parameter.
    note
        Origin of the values. The comment is at the end of the method's line.

    Raises
    ------
    BenchError
        If the file is written in a way that cannot be edited.
    """
    text = path.read_text()
    wanted = read_yaml(text)
    wanted["methods"] = {name: dict(value) for name, value in wanted["methods"].items()}
    wanted["methods"][method] |= options
    text = _without_aliases(text, method)
    pairs = list(_find(text, ["methods", method]).value)
    edits = [
        (value.start_mark.index, value.end_mark.index, _scalar(options[key.value]))
        for key, value in pairs
        if key.value in options
    ]
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    _write(path, _noted(text, method, note), wanted)


def _find(text: str, keys: Sequence[str]) -> yaml.MappingNode:
    """Return the mapping that `keys` lead to, with the positions of its entries in the text."""
    node: Any = compose_yaml(text)
    for name in keys:
        node = next((v for k, v in node.value if k.value == name), None)
        if not isinstance(node, yaml.MappingNode):
            raise BenchError(f"params.yaml has no mapping '{name}'; write it by hand.")
    return cast(yaml.MappingNode, node)


def _last_line(node: yaml.Node) -> int:
    """Return the last line of a mapping. Aliases, whose text is elsewhere, do not count."""
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        return int(node.end_mark.line)
    ends: Iterator[int] = (
        max(key.end_mark.line, _last_line(value) if _is_here(key, value) else 0)
        for key, value in node.value
    )
    return max(ends)


def _is_here(key: yaml.Node, value: yaml.Node) -> bool:
    """Whether a value is written after its key, so that it is not an alias."""
    return bool(value.start_mark.index > key.end_mark.index)


def _aliases(text: str, method: str) -> Iterator[yaml.Node]:
    """Yield the keys of ``methods:`` whose value is an alias of the options of `method`."""
    entries = _find(text, ["methods"]).value
    own = next(value for key, value in entries if key.value == method)
    for key, value in entries:
        if value is own and not _is_here(key, value):
            yield key


def _without_aliases(text: str, method: str) -> str:
    """Replace aliases of the options of `method` by copies, so that they do not change with it."""
    options = read_yaml(text)["methods"]
    for key in reversed(list(_aliases(text, method))):
        written = _written(options[key.value], key.start_mark.column + _INDENT)
        before, after = text[: key.end_mark.index], text[key.end_mark.index :]
        comment, _, rest = re.sub(r"\A:\s*\*\S+", "", after).partition("\n")
        text = f"{before}:{comment}\n{written}{rest}"
    return text


def _noted(text: str, method: str, note: str) -> str:
    """Write a comment at the end of a method's line; it replaces an earlier one."""
    key, value = next((k, v) for k, v in _find(text, ["methods"]).value if k.value == method)
    number = value.end_mark.line if value.flow_style else key.end_mark.line
    lines = text.splitlines()
    line = re.sub(rf"\s*{_TUNED}.*$", "", lines[number])
    lines[number] = f"{line} {_TUNED}{note}"
    return "\n".join(lines) + "\n"


def _written(value: Mapping[str, Any], column: int) -> str:
    """Format a mapping as YAML; mappings of the third level are on one line each."""
    inner = (x for value in value.values() if isinstance(value, Mapping) for x in value.values())
    nested = any(isinstance(x, Mapping) for x in inner)
    text = yaml.safe_dump(
        dict(value), sort_keys=False, width=90, default_flow_style=None if nested else False
    )
    return "".join(f"{' ' * column}{line}\n" for line in text.splitlines())


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def _write(path: Path, text: str, wanted: object) -> None:
    """Write the file if the new text has the wanted content."""
    if read_yaml(text) != wanted:
        raise BenchError(f"{path} is written in a way that cannot be edited; edit it by hand.")
    with atomic_file(path) as file:
        file.write(text.encode())
