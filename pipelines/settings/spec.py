"""RunSpec: all that identifies a run, and the hash that names it."""

from __future__ import annotations

import hashlib
import json
from functools import cache, lru_cache
from typing import Annotated, Any, Literal

from msgspec import NODEFAULT, Meta, field
from msgspec.structs import fields, replace

from baselines.shared.info import Granularity, Track
from pipelines.common.structs import Struct
from pipelines.settings.workload import Recipe, Workload

Device = Literal["cpu", "cuda"]
Control = Literal["shuffled", "reinit"]
EMERGENT: Literal["emergent"] = "emergent"
#: The method that is the control of all others.
RANDOM = "random"
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


@lru_cache
def _canonical_settings(settings: Workload) -> str:
    """Return what thousands of cells have in common."""
    return _CANONICAL.encode(settings.model_dump(mode="json", exclude_defaults=True))


class RunSpec(Struct, frozen=True, kw_only=True):
    """One cell of a grid: everything that its result depends on, except the code.

    Parameters
    ----------
    workload
        Name of the workload.
    settings
        The workload in full.
    method
        Name of the method.
    variant
        Name of a set of options, for people; the options themselves are in `options`.
    granularity
        What it removes.
    density
        Target, kept / prunable weights in (0, 1], or ``emergent``.
    seed
        Seed of the initial network, the batch order and the method.
    options
        Hyper-parameters of the method.
    twin_of
        ``METHOD`` if the target is the density that METHOD found by itself, for this workload,
        granularity and seed; such cells form rows of their own.
    track
        ``from-scratch``, or ``post-training``: from the checkpoint of the workload and the seed.
    control
        ``shuffled`` or ``reinit``: a control of the cell that is `parent`.
    tuning
        Whether this is a trial: it is judged on the validation split, and never opens the test
        split.
    threads
        CPU threads of the run; results are bit-identical for the same number only.
    device
        ``cpu``, or ``cuda``: one GPU. Initial network and order of the batches are the same.
    """

    workload: str
    settings: Workload
    method: str
    granularity: Granularity
    density: Annotated[float, Meta(gt=0, le=1)] | Literal["emergent"]
    seed: Annotated[int, Meta(ge=0)]
    options: dict[str, Any] = field(default_factory=dict)
    variant: str = ""
    twin_of: str = ""
    track: Track = "from-scratch"
    control: Control | Literal[""] = ""
    tuning: bool = False
    threads: Annotated[int, Meta(ge=1)] = 1
    device: Device = "cpu"

    @property
    def run_id(self) -> str:
        """16 hexadecimal digits, from the canonical form."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    @property
    def recipe(self) -> Recipe:
        """How it is trained: the workload's recipe, or that of fine-tuning."""
        return self.settings.recipe_of(self.track)

    @property
    def parent(self) -> RunSpec:
        """The cell that a control follows."""
        return replace(self, control="")

    @property
    def target(self) -> float | None:
        """Target density, or None if emergent."""
        return None if self.density == EMERGENT else float(self.density)

    @property
    def name(self) -> str:
        """Method, and variant if it is one: ``dpap`` or ``dpap:hebb``."""
        return f"{self.method}:{self.variant}" if self.variant else self.method

    def canonical(self) -> str:
        """JSON with sorted keys; fields at their default are left out.

        A field added later with a default that keeps the old behaviour changes no run_id.
        """
        values = {x: value for x, y in _defaults().items() if (value := getattr(self, x)) != y}
        # Behind its settings a spec has plain values: the last such key is that of the settings.
        first, key, last = _CANONICAL.encode(values | {"settings": 0}).rpartition('"settings":')
        return f"{first}{key}{_canonical_settings(self.settings)}{last[1:]}"

    def label(self) -> str:
        """Name the cell for people."""
        twin = f" (as {self.twin_of})" if self.twin_of else ""
        name = f"{self.name}-{self.control}" if self.control else self.name
        track = "" if self.track == "from-scratch" else f" {self.track}"
        return (
            f"{self.workload} {name} {self.granularity}{track} density {self.density}{twin} "
            f"seed {self.seed}"
        )


@cache
def _defaults() -> dict[str, Any]:
    """Return the default of each field of a spec; no value equals that of one without."""
    return {
        x.name: x.default if x.default_factory is NODEFAULT else x.default_factory()
        for x in fields(RunSpec)
    }
