"""params.yaml: what people write, validated, and the cells that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import yaml
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from baselines.shared.info import Granularity, Track
from pipelines.boards.board import Board, Place, fits
from pipelines.boards.spaces import Tuning
from pipelines.common.errors import BenchError, InputError, unknown
from pipelines.common.structs import checked
from pipelines.common.yaml import read_yaml
from pipelines.methods.admission import check, refusal
from pipelines.methods.catalogue import canonical, info
from pipelines.settings.spec import EMERGENT, Device, RunSpec
from pipelines.settings.workload import Workload

if TYPE_CHECKING:
    from pipelines.records.record import RunRecord
    from pipelines.records.store import Store

PARAMS = "params.yaml"


class Compute(BaseModel):
    """How runs compute, as far as results depend on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threads: int = Field(1, ge=1)
    device: Device = "cpu"


class Params(BaseModel):
    """The whole of params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    boards: dict[str, Board]
    compute: Compute = Compute()
    workloads: dict[str, Workload]
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    variants: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    tuning: Tuning | None = None

    def spec(
        self,
        workload: str,
        name: str,
        granularity: str | None,
        density: float | str,
        seed: int,
        track: str = "from-scratch",
        *,
        admit: bool = True,
    ) -> RunSpec:
        """Build one cell; `name` is METHOD or METHOD:VARIANT, granularity None its default.

        Whether it can be run is asked unless `admit` is False: for that the method is imported,
        and torch with it, which reading records does without.

        Raises
        ------
        InputError
            If a name is unknown, or the method cannot do what is asked.
        """
        name, _, variant = name.partition(":")
        name = canonical(name)
        granularity = granularity or info(name).granularities[0]
        changes = self.variants.get(name, {})
        for what, asked, known in (
            ("workload", workload, self.workloads),
            (f"variant of method '{name}'", variant, changes),
            ("granularity", granularity, get_args(Granularity)),
            ("track", track, get_args(Track)),
        ):
            if asked and asked not in known:
                raise unknown(what, asked, known)
        if isinstance(density, float) and not 0 < density <= 1:
            raise InputError(
                f"density {density:g} is not in (0, 1]; it is the kept share of the prunable "
                "weights, for example 0.25."
            )
        fields = {
            "workload": workload,
            "settings": self.workloads[workload].of_track(track),
            "method": name,
            "granularity": granularity,
            "density": density,
            "seed": seed,
            "options": self.methods.get(name, {}) | changes.get(variant, {}),
            "variant": variant,
            "track": track,
            "threads": self.compute.threads,
            "device": self.compute.device,
        }
        try:
            spec = checked(RunSpec, fields)
        except msgspec.ValidationError as error:
            raise InputError(f"{error}.") from error
        if admit:
            check(spec)
        return spec

    def board(self, name: str) -> Board:
        """Return a board.

        Raises
        ------
        InputError
            If there is none of this name.
        """
        if name not in self.boards:
            raise unknown("board", name, self.boards)
        return self.boards[name]

    def cells(
        self,
        board: str,
        workloads: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        *,
        admit: bool = True,
    ) -> list[RunSpec]:
        """Every cell of a board, or those of some of its workloads and methods.

        Raises
        ------
        InputError
            If the board has no such workload or method.
        """
        places = self.board(board).places(self.workloads, workloads, methods)
        return [self.spec(*place, admit=admit) for place in places]

    def size(self, board: str) -> int:
        """Count the cells of a board, without building them."""
        return sum(1 for _ in self.board(board).places(self.workloads))

    def twins(
        self,
        board: str,
        store: Store,
        workloads: Sequence[str] | None = None,
        *,
        admit: bool = True,
    ) -> list[RunSpec]:
        """Baselines at the densities that the board's emergent cells reached, seed by seed.

        Cells without a finished record have no twins yet.
        """
        places = self.board(board).places(self.workloads, workloads)
        emergent = (place for place in places if place.density == EMERGENT)
        return [
            replace(
                self.spec(*place._replace(name=name, density=density), admit=admit),
                twin_of=place.name,
            )
            for place in emergent
            for density in _reached(store.find(self.spec(*place, admit=admit)))
            for name in self.twin_names(board, place)
        ]

    def twin_names(self, board: str, place: Place) -> list[str]:
        """Return the board's baselines that can be run as an emergent cell was."""
        return [
            name
            for name in self.board(board).baselines
            if place.granularity in info(name).granularities
            and place.track in info(name).tracks
            and fits(info(name), self.workloads[place.workload])
        ]

    def controls(
        self,
        board: str,
        store: Store,
        workloads: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        *,
        admit: bool = True,
    ) -> list[RunSpec]:
        """Controls of the board's pruned cells, twins left aside.

        Cells without a finished record have no controls yet.
        """
        kinds = self.board(board).controls
        return [
            control
            for cell in (self.cells(board, workloads, methods, admit=admit) if kinds else ())
            for control in (replace(cell, control=kind) for kind in kinds)
            if refusal(control) is None and _reached(store.find(cell))
        ]

    def part(
        self,
        what: Literal["cells", "twins", "controls"],
        board: str,
        store: Store,
        workloads: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
    ) -> list[RunSpec]:
        """Return what `cells`, `twins` or `controls` does."""
        if what == "twins":
            return self.twins(board, store, workloads)
        if what == "controls":
            return self.controls(board, store, workloads, methods)
        return self.cells(board, workloads, methods)

    def everything(self, board: str, store: Store) -> list[RunSpec]:
        """All that a board consists of, for readers of its records: cells, twins and controls."""
        return [
            *self.cells(board, admit=False),
            *self.twins(board, store, admit=False),
            *self.controls(board, store, admit=False),
        ]


def _reached(record: RunRecord | None) -> list[float]:
    """The density of a finished run, to four digits, or nothing."""
    if record is None or record.status != "ok" or record.outcome is None:
        return []
    return [round(record.outcome.cost.density, 4)]


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}."


def load_params(root: Path, device: Device | None = None) -> Params:
    """Read params.yaml in `root`; `device`, if given, replaces its ``compute.device``.

    Raises
    ------
    InputError
        If it is not valid.
    """
    path = root / PARAMS
    try:
        params = Params.model_validate(read_yaml(path.read_text()))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error)}") from error
    if device is None:
        return params
    compute = params.compute.model_copy(update={"device": device})
    return params.model_copy(update={"compute": compute})


def read_density(name: str, text: str | None) -> float | str:
    """Read the density that somebody typed; only a method that prunes nothing may have none.

    Raises
    ------
    InputError
        If there is none, or it is neither a number nor ``emergent``.
    """
    if text is None:
        if info(name.partition(":")[0]).granularities == ("none",):
            return 1.0
        raise InputError(f"method '{name}' needs --density, for example 0.25.")
    if text == EMERGENT:
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"density '{text}' is neither a number in (0, 1] nor 'emergent'."
        ) from None


def find_root(start: Path) -> Path:
    """Return the nearest folder, from `start` upwards, that holds params.yaml.

    Raises
    ------
    BenchError
        If there is none.
    """
    for folder in (start, *start.parents):
        if (folder / PARAMS).is_file():
            return folder
    raise BenchError(f"no {PARAMS} here or above; change into your clone of dpap-bench first.")
