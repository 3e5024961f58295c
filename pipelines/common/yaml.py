"""YAML by PyYAML's safe loader, in C if possible; refuses keys that stand twice and aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipelines.common.errors import InputError
from pipelines.common.files import read_small_file

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
#: Lists and mappings inside one another; the C library overflows its stack at some thousands.
_MOST_LEVELS = 100


def load_yaml(path: Path) -> Any:
    """Read a file that people write.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InputError
        If it cannot be read, is no text in UTF-8, or `read_yaml` refuses it.
    """
    try:
        return read_yaml(read_small_file(path).decode())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no text in UTF-8 (byte {error.start + 1}); save it in UTF-8."
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error


def read_yaml(text: str) -> Any:
    """Read a document that people write.

    Raises
    ------
    yaml.YAMLError
        If it is not YAML, if a key stands twice in a mapping (the YAML standard forbids it, and
        PyYAML takes the last one), if it has an alias (``*name``): a tool that changes one value,
        such as ``dvc exp run -S``, would change every copy; or if more than 100 lists and mappings
        are inside one another.
    """
    _refuse_depth(text)
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_traps(node, set())
        return loader.construct_document(node)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        # PyYAML's constructors of numbers and dates raise what they happen to meet.
        raise yaml.YAMLError(f"a value does not fit its tag or form ({error})") from error
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


def _refuse_depth(text: str) -> None:
    """Raise YAMLError if too many lists and mappings are inside one another."""
    levels = 0
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            levels += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            levels -= 1
        if levels > _MOST_LEVELS:
            raise yaml.YAMLError(
                f"more than {_MOST_LEVELS} lists and mappings are inside one another"
            )


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
