"""RunSpec: everything that identifies a run, and the hash that names it."""

from __future__ import annotations

import hashlib
import json
from functools import cache, lru_cache
from typing import Annotated, Any, Literal

from msgspec import NODEFAULT, Meta, field
from msgspec.structs import fields, replace

from baselines.shared.info import Granularity, Track
from pipelines.common.structs import Count, Struct
from pipelines.settings.limits import NAME, THREADS
from pipelines.settings.workload import Recipe, Workload

Device = Literal["cpu", "cuda"]
Control = Literal["shuffled", "reinit"]
#: Names are parts of paths: none may lead out of the folder of records.
Name = Annotated[str, Meta(pattern=rf"^{NAME}\Z", max_length=100)]
NameOrNone = Annotated[str, Meta(pattern=rf"^({NAME})?\Z", max_length=100)]
#: The target density of a run whose method finds the density by itself.
EMERGENT: Literal["emergent"] = "emergent"
#: The target density of a run whose target is a number of SynOps.
SYNOPS: Literal["synops"] = "synops"
#: Name of the method that prunes at random, the control of all other methods.
RANDOM = "random"
#: Fields whose name in `RunSpec.canonical` is an older one, so that no run is renamed.
_HASHED_AS = {"matched_to": "twin_of"}
#: The granularity that also removes time steps; only spiking networks have these.
SPATIO_TEMPORAL: Granularity = "spatio-temporal"
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


@lru_cache
def _canonical_settings(settings: Workload) -> str:
    """Encode the settings of a workload; cached, because thousands of cells share them."""
    return _CANONICAL.encode(settings.model_dump(mode="json", exclude_defaults=True))


class RunSpec(Struct, frozen=True, kw_only=True):
    """One cell of a grid: everything that its result depends on, except the code.

    Parameters
    ----------
    workload
        Name of the workload.
    settings
        All settings of the workload.
    method
        Name of the method.
    granularity
        What the method removes: single weights, whole units, both, or time steps.
    density
        Target density, kept / prunable weights in (0, 1]; or ``emergent``; or ``synops``, if the
        target is the field of this name.
    seed
        Seed of the initial network, the batch order and the method.
    options
        Hyper-parameters of the method.
    variant
        Name of the set of hyper-parameters in `options`; empty for the method's default set.
    matched_to
        Of a matched run, the METHOD that it is matched to: the target is the density that METHOD
        found by itself for the same workload, granularity and seed. Matched runs have rows of
        their own in the tables. Empty for all other runs.
    track
        ``from-scratch``; or ``post-training``, which starts from the dense checkpoint of the
        workload and the seed.
    control
        ``shuffled`` or ``reinit`` if the run is a control of the cell `parent`; else empty.
    tuning
        Whether the run is a tuning trial. It is judged on the validation split, and never opens
        the test split.
    synops
        Target SynOps per sample, in the place of a density. None: the target is a density.
    threads
        Number of CPU threads. Results are bit-identical for the same number only.
    device
        ``cpu``; or ``cuda``, one GPU. Both have the same initial network and order of batches.
    """

    workload: Name
    settings: Workload
    method: Name
    granularity: Granularity
    density: Annotated[float, Meta(gt=0, le=1)] | Literal["emergent", "synops"]
    seed: Count
    options: dict[str, Any] = field(default_factory=dict)
    variant: NameOrNone = ""
    matched_to: NameOrNone = ""
    track: Track = "from-scratch"
    control: Control | Literal[""] = ""
    tuning: bool = False
    synops: Annotated[float, Meta(gt=0)] | None = None
    threads: Annotated[int, Meta(ge=1, le=THREADS)] = 1
    device: Device = "cpu"

    @property
    def run_id(self) -> str:
        """Name of the cell: the first 16 hexadecimal digits of the SHA-256 of `canonical`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run's track."""
        return self.settings.recipe_of(self.track)

    @property
    def parent(self) -> RunSpec:
        """The cell that a control follows; the cell itself if it is no control."""
        return replace(self, control="")

    @property
    def target(self) -> float | None:
        """Target density; None if it is emergent, or if the target is a number of SynOps."""
        return None if isinstance(self.density, str) else float(self.density)

    @property
    def aim(self) -> float | str:
        """The target as tables name it: a density, ``emergent``, or ``20000 SynOps``."""
        return self.density if self.synops is None else f"{self.synops:.0f} SynOps"

    @property
    def name(self) -> str:
        """METHOD, or METHOD:VARIANT: ``dpap`` or ``dpap:hebb``."""
        return f"{self.method}:{self.variant}" if self.variant else self.method

    def given(self) -> dict[str, Any]:
        """Return the fields that are not at their default, without `settings`."""
        return {
            name: value
            for name, default in _defaults().items()
            if (value := getattr(self, name)) != default
        }

    def canonical(self) -> str:
        """Return the canonical form: JSON with sorted keys, without fields at their default.

        A new field changes no run_id, if its default keeps the old behaviour.
        """
        values = {_HASHED_AS.get(name, name): value for name, value in self.given().items()}
        # The settings are encoded once for many cells: a 0 holds their place. The fields that sort
        # after "settings" hold no key of this name, so its last occurrence is the right one.
        before, key, after = _CANONICAL.encode(values | {"settings": 0}).rpartition('"settings":')
        return f"{before}{key}{_canonical_settings(self.settings)}{after[1:]}"

    def label(self) -> str:
        """Return a description of the cell for people."""
        matched = f" (as {self.matched_to})" if self.matched_to else ""
        name = f"{self.name}-{self.control}" if self.control else self.name
        track = "" if self.track == "from-scratch" else f" {self.track}"
        aim = f"density {self.density}" if self.synops is None else f"at {self.aim}"
        return f"{self.workload} {name} {self.granularity}{track} {aim}{matched} seed {self.seed}"


@cache
def _defaults() -> dict[str, Any]:
    """Return field -> its default, without `settings`.

    The default of a field without one is `NODEFAULT`, which no value equals.
    """
    defaults = {}
    for one in fields(RunSpec):
        has_factory = one.default_factory is not NODEFAULT
        defaults[one.name] = one.default_factory() if has_factory else one.default
    del defaults["settings"]
    return defaults
