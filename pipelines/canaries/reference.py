"""Reference files in ``results/canaries/``: the outcomes of all canaries in one environment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch

from pipelines.canaries.outcomes import Result
from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file, read_small_file
from pipelines.common.structs import Struct, decoder
from pipelines.settings.rules import RULES_VERSION
from pipelines.training.environment import processor

#: Folder of the reference files, below that of the project.
FOLDER = "results/canaries"
#: The file beside them that has the code.
_CODE = "code.json"


class Place(Struct, frozen=True, kw_only=True):
    """An environment in which equal code gives equal outcomes, to the last bit.

    Parameters
    ----------
    processor
        Vendor and model of the CPU.
    capability
        The vector instructions that torch uses.
    torch
        Version of torch.
    threads
        Threads of each run.
    """

    processor: str
    capability: str
    torch: str
    threads: int

    @property
    def name(self) -> str:
        """Name of the environment, and of its file."""
        parts = (self.processor, self.capability, f"torch {self.torch}", f"{self.threads} thread")
        return re.sub(r"[^a-z0-9.]+", "-", " ".join(parts).lower()).strip("-")


class Reference(Struct, frozen=True, kw_only=True):
    """The outcomes of all canaries in one environment.

    Parameters
    ----------
    rules
        Version of the rules.
    generation
        Generation of the accepted code, `pipelines.records.lineage.Accepted`. Outcomes of an older
        one are no reference any more, because those of some canaries have changed since.
    environment
        Where they were computed.
    canaries
        Name of the canary -> its outcome.
    """

    rules: int
    generation: int
    environment: Place
    canaries: dict[str, Result]


def here() -> Place:
    """Return the environment of this machine for runs with one thread."""
    capability = torch.backends.cpu.get_cpu_capability()
    return Place(
        processor=processor(), capability=capability, torch=str(torch.__version__), threads=1
    )


def path_of(root: Path, place: Place) -> Path:
    """Return the path of the file of an environment."""
    return root / FOLDER / f"{place.name}.json"


def read_references(root: Path) -> list[Reference]:
    """Read the reference files of all environments under the present rules.

    Raises
    ------
    BenchError
        If a file cannot be read.
    """
    found = []
    for path in sorted((root / FOLDER).glob("*.json")):
        if path.name == _CODE:
            continue
        try:
            found.append(decoder(Reference).decode(read_small_file(path)))
        except (OSError, ValueError, RecursionError) as error:
            raise BenchError(
                f"{path} cannot be read ({error}); restore it, for example with git checkout."
            ) from error
    return [one for one in found if one.rules == RULES_VERSION]


def write_reference(
    root: Path, place: Place, generation: int, results: Mapping[str, Result]
) -> None:
    """Write the outcomes of all canaries in an environment, one line for each canary."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(results[name])}" for name in results)
    head = {
        "rules": RULES_VERSION,
        "generation": generation,
        "environment": msgspec.to_builtins(place),
    }
    fields = "".join(f' "{name}": {json.dumps(value)},\n' for name, value in head.items())
    with atomic_file(path_of(root, place)) as file:
        file.write(f'{{\n{fields} "canaries": {{\n{lines}\n }}\n}}\n'.encode())
