"""YAML by PyYAML's safe loader, in C if possible; refuses keys that stand twice and aliases."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def read_yaml(text: str) -> Any:
    """Read a document that people write.

    Raises
    ------
    yaml.YAMLError
        If it is not YAML, if a key stands twice in a mapping (the YAML standard forbids it, and
        PyYAML takes the last one), or if it has an alias (``*name``): a tool that changes one
        value, such as ``dvc exp run -S``, would change every copy.
    """
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_traps(node, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def write_yaml(value: Any, heading: str = "") -> str:
    """Return a document as text, the keys of mappings in their order.

    Parameters
    ----------
    value
        Plain Python values.
    heading
        Comment lines before the document.
    """
    comment = "".join(f"# {line}\n" for line in heading.splitlines())
    text = yaml.dump(
        value,
        Dumper=_DUMPER,
        sort_keys=False,
        width=96,
        default_flow_style=None,
        allow_unicode=True,
    )
    return f"{comment}{text}"


def _refuse_traps(node: yaml.Node, seen: set[int]) -> None:
    if id(node) in seen:
        raise yaml.YAMLError(
            f"the value in line {node.start_mark.line + 1} is used a second time by an alias "
            "(*name); write it out where it is used"
        )
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_traps(value, seen)
    if isinstance(node, yaml.MappingNode):
        keys: set[tuple[str, str]] = set()
        for key, value in node.value:
            name = (key.tag, str(key.value))
            if name in keys:
                raise yaml.YAMLError(
                    f"key '{key.value}' in line {key.start_mark.line + 1} is there twice; keep "
                    "one of them"
                )
            keys.add(name)
            _refuse_traps(key, seen)
            _refuse_traps(value, seen)
