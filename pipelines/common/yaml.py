"""YAML, by the safe loader in C where PyYAML has it: params.yaml takes a tenth of the time."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str) -> Any:
    """Read a document; what is wrong with it is a `yaml.YAMLError`."""
    return yaml.load(text, _LOADER)  # noqa: S506 -- it is a safe loader


def compose_yaml(text: str) -> yaml.Node | None:
    """Read a document as nodes, which know where they stand in the text."""
    node: yaml.Node | None = yaml.compose(text, _LOADER)
    return node
