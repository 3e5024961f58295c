"""methods.yaml: the hyper-parameters of every method, and the space that tuning searches.

This file is separate from params.yaml because programs write it: ``dpap-bench tune`` and
``dpap-bench new-method`` read it, change one entry, and write the whole file again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from baselines.shared.info import Granularity
from pipelines.boards.spaces import Space
from pipelines.common.errors import InputError, first_fault
from pipelines.common.files import atomic_file
from pipelines.common.yaml import load_yaml, write_yaml
from pipelines.settings.limits import NAME

METHODS = "methods.yaml"
#: Characters of one hyper-parameter as JSON.
_LONGEST = 10_000
_ORDER = ("options", "granularities", "space", "tuned")
_HEADING = """\
The hyper-parameters of every method (options), those that have another value at one granularity
(granularities), what `dpap-bench tune` searches (space), and the values that it found to be better,
by kind of network and granularity (tuned). Values of tuned replace those of granularities, and
these replace those of options. `dpap-bench tune` and `dpap-bench new-method` write this file;
values may be edited by hand, comments below this heading are lost."""


def _plain(value: Any) -> Any:
    """Refuse what a record cannot hold: dates, bytes, sets, NaN, infinity."""
    try:
        text = json.dumps(value, allow_nan=False)
        text.encode()
        same = json.loads(text) == value and len(text) <= _LONGEST
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise ValueError("a hyper-parameter is text, a finite number, true, false or a list")
    return value


#: A name that may be part of a path.
Key = Annotated[str, StringConstraints(pattern=rf"^{NAME}$", max_length=100)]
#: Hyper-parameter -> value.
Options = dict[str, Annotated[Any, AfterValidator(_plain)]]
#: Kinds of networks: spiking and artificial.
Kind = Literal["snn", "ann"]
#: Kind of network -> granularity -> hyper-parameter -> value.
Changes = dict[Kind, dict[Granularity, Options]]


class Entry(BaseModel):
    """The entry of one method in methods.yaml.

    Parameters
    ----------
    options
        All hyper-parameters.
    granularities
        Granularity -> hyper-parameters that have another value there.
    space
        Hyper-parameter -> the values that tuning may choose. Empty: the method is not tuned.
    tuned
        Kind of network -> granularity -> hyper-parameter -> the value that replaces the one of
        `options` and `granularities`. Tuning writes it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    options: Options = Field(default_factory=dict)
    granularities: dict[Granularity, Options] = Field(default_factory=dict)
    space: Space = Field(default_factory=dict)
    tuned: Changes = Field(default_factory=dict)

    @model_validator(mode="after")
    def _changes_options(self) -> Self:
        parts = [("granularities", self.granularities)]
        parts += [("tuned", by_granularity) for by_granularity in self.tuned.values()]
        for key, by_granularity in parts:
            for changes in by_granularity.values():
                for name in changes:
                    if name not in self.options:
                        raise ValueError(f"{key} has '{name}', which is not among the options")
        return self


_ENTRIES = TypeAdapter(dict[Key, Entry])


def read_entries(root: Path) -> dict[str, Entry]:
    """Read methods.yaml.

    Parameters
    ----------
    root
        The project's folder.

    Returns
    -------
    dict
        Method -> its entry, in the order of the file.

    Raises
    ------
    InputError
        If the file is missing or not valid.
    """
    path = root / METHODS
    try:
        return _ENTRIES.validate_python(load_yaml(path) or {})
    except FileNotFoundError:
        raise InputError(f"{path} is missing; restore it with: git checkout {METHODS}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from error


def write_entries(root: Path, entries: Mapping[str, Entry]) -> None:
    """Write methods.yaml.

    Parameters
    ----------
    root
        The project's folder.
    entries
        Method -> its entry; the file keeps this order.

    Raises
    ------
    BenchError
        If the file cannot be written.
    """
    plain = {
        name: entry.model_dump(mode="json", exclude_defaults=True) | {"options": entry.options}
        for name, entry in entries.items()
    }
    ordered = {
        name: {key: fields[key] for key in _ORDER if key in fields}
        for name, fields in plain.items()
    }
    with atomic_file(root / METHODS) as file:
        file.write(write_yaml(ordered, _HEADING).encode())
