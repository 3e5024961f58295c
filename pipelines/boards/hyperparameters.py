"""methods.yaml: the hyper-parameters of every method, and the space that tuning searches.

This file is separate from params.yaml because programs write it: ``dpap-bench tune`` and
``dpap-bench new-method`` read it, change one entry, and write the whole file again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from baselines.shared.info import Granularity
from pipelines.boards.spaces import Space
from pipelines.common.errors import InputError, first_fault
from pipelines.common.files import atomic_file
from pipelines.common.yaml import read_yaml, write_yaml

METHODS = "methods.yaml"
_ORDER = ("options", "granularities", "space", "tuned")
_HEADING = """\
The hyper-parameters of every method (options), those that have another value at one granularity
(granularities), what `dpap-bench tune` searches (space), and the values that it found to be better,
by kind of network and granularity (tuned). Values of tuned replace those of granularities, and
these replace those of options. `dpap-bench tune` and `dpap-bench new-method` write this file;
values may be edited by hand, comments below this heading are lost."""

#: Kinds of networks: spiking and artificial.
Kind = Literal["snn", "ann"]
#: Kind of network -> granularity -> hyper-parameter -> value.
Changes = dict[Kind, dict[Granularity, dict[str, Any]]]


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

    options: dict[str, Any] = Field(default_factory=dict)
    granularities: dict[Granularity, dict[str, Any]] = Field(default_factory=dict)
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


_ENTRIES = TypeAdapter(dict[str, Entry])


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
        return _ENTRIES.validate_python(read_yaml(path.read_text()) or {})
    except FileNotFoundError:
        raise InputError(f"{path} is missing; restore it with: git checkout {METHODS}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
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
