"""YAML by the safe loader in C if PyYAML has it, which takes a tenth of the time."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str) -> Any:
    """Read a document; raises `yaml.YAMLError` for a malformed one."""
    return yaml.load(text, _LOADER)  # noqa: S506 -- a safe loader


def compose_yaml(text: str) -> yaml.Node | None:
    """Read a document as nodes, which know their positions in the text."""
    node: yaml.Node | None = yaml.compose(text, _LOADER)
    return node
