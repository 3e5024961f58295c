"""Scaffold: create a new method from the template."""

from __future__ import annotations

import dataclasses
import keyword
import re
from pathlib import Path

import baselines
from baselines._template import Template
from pipelines.boards.hyperparameters import Entry, read_entries, write_entries
from pipelines.boards.spaces import Choices, Range, Space
from pipelines.common.errors import InputError
from pipelines.common.files import atomic_file
from pipelines.methods.catalogue import infos

_TEMPLATE = Path(baselines.__path__[0]) / "_template.py"
_SPACE: Space = {
    "start": Range(low=0.0, high=0.3),
    "stop": Range(low=0.3, high=0.9),
    "scope": Choices(choices=("global", "layer-wise")),
    "share": Range(low=0.0, high=1.0),
}
_DOCSTRING = '''"""{title}: describe here what it prunes and by which formula, and cite the paper.

The contract is in baselines/shared/contract.py; ``dpap-bench check {name}`` checks this method.
"""'''


def create(root: Path, name: str, folder: Path) -> Path:
    """Write the file of a new method, and its hyper-parameters into methods.yaml.

    Parameters
    ----------
    root
        Folder of methods.yaml.
    name
        Name of the method. The file name has underscores instead of hyphens.
    folder
        Folder of the new file.

    Returns
    -------
    Path
        The new file.

    Raises
    ------
    InputError
        If the name is not valid or taken, or the folder does not exist.
    BenchError
        If a file cannot be written.
    """
    identifier = name.replace("-", "_")
    if not identifier.isidentifier() or keyword.iskeyword(identifier) or name.startswith("_"):
        raise InputError(
            f"'{name}' is not a valid name of a method: use lower-case letters, digits and "
            "hyphens, and begin with a letter, for example my-method."
        )
    entries, path = read_entries(root), folder / f"{identifier}.py"
    taken = {other.replace("-", "_") for other in (*infos(), *entries, "template")}
    if identifier in taken or path.exists():
        raise InputError(f"the name '{name}' is taken; choose another one.")
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; make it, or name another one with --to.")
    options = {field.name: field.default for field in dataclasses.fields(Template)}
    with atomic_file(path) as file:
        file.write(_filled(name).encode())
    write_entries(root, entries | {name: Entry(options=options, space=_SPACE)})
    return path


def _filled(name: str) -> str:
    """Return the text of the template for another name."""
    title = "".join(part.capitalize() for part in re.split("[-_]", name))
    text = _TEMPLATE.read_text().partition('"""\n')[2]  # without the docstring of the module
    text = text.replace(f"class {Template.__name__}(", f"class {title}(")
    text = text.replace(f'name="{Template.info.name}"', f'name="{name}"')
    return f"{_DOCSTRING.format(title=title, name=name)}\n{text}"
