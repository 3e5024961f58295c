"""The settings of params.yaml and methods.yaml, validated, and the cells that they define."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import msgspec
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from baselines.shared.info import Granularity, Track
from pipelines.boards.board import Board, Place, fits
from pipelines.boards.hyperparameters import METHODS, Changes, Entry, Key, Options, read_entries
from pipelines.boards.project import PARAMS
from pipelines.boards.spaces import Tuning
from pipelines.common.errors import InputError, first_fault, unknown
from pipelines.common.structs import checked
from pipelines.common.yaml import load_yaml
from pipelines.methods.admission import check, refusal
from pipelines.methods.catalogue import canonical, info
from pipelines.settings.limits import THREADS
from pipelines.settings.spec import EMERGENT, SPATIO_TEMPORAL, Device, RunSpec
from pipelines.settings.workload import Workload

if TYPE_CHECKING:
    from pipelines.records.record import RunRecord
    from pipelines.records.store import Store

#: The parts of a board, in the order of computation: a part needs records of the parts before it.
Part = Literal["cells", "matched", "controls"]


class Compute(BaseModel):
    """How runs compute, as far as results depend on it.

    Parameters
    ----------
    threads
        CPU threads of each run.
    device
        ``cpu`` or ``cuda``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threads: int = Field(1, ge=1, le=THREADS)
    device: Device = "cpu"


class Params(BaseModel):
    """All settings of a project.

    Parameters
    ----------
    boards, compute, workloads, variants
        As in params.yaml.
    methods
        Method -> hyper-parameters, from methods.yaml.
    granularities
        Method -> granularity -> hyper-parameters that have another value there, from methods.yaml.
    tuned
        Method -> the values that tuning found, from methods.yaml; see `options`.
    tuning
        As in params.yaml, with the search spaces of methods.yaml. None: no method can be tuned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    boards: dict[Key, Board]
    compute: Compute = Compute()
    workloads: dict[Key, Workload]
    methods: dict[str, Options] = Field(default_factory=dict)
    granularities: dict[str, dict[Granularity, Options]] = Field(default_factory=dict)
    tuned: dict[str, Changes] = Field(default_factory=dict)
    variants: dict[Key, dict[Key, Options]] = Field(default_factory=dict)
    tuning: Tuning | None = None

    def spec(
        self,
        workload: str,
        name: str,
        granularity: str | None,
        density: float | str,
        seed: int,
        track: str = "from-scratch",
        synops: float | None = None,
        *,
        admit: bool = True,
    ) -> RunSpec:
        """Build one cell.

        Parameters
        ----------
        workload
            Name of the workload.
        name
            METHOD or METHOD:VARIANT.
        granularity
            What the method removes; None: the first granularity that it supports.
        density
            Target density in (0, 1], or ``emergent``, or ``synops``.
        seed
            Seed of all random streams.
        track
            ``from-scratch`` or ``post-training``.
        synops
            Target SynOps per sample, if `density` is ``synops``.
        admit
            Whether to check that the method can run the cell. The check imports the method, and
            with it torch. Code that only reads records does without the check.

        Returns
        -------
        RunSpec
            All settings of the cell.

        Raises
        ------
        InputError
            If a name is unknown, or the method cannot run the cell.
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
            "options": self.options(name, workload, granularity) | changes.get(variant, {}),
            "variant": variant,
            "track": track,
            "synops": synops,
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

    def options(self, name: str, workload: str, granularity: str) -> dict[str, Any]:
        """Return the hyper-parameters of a method for one kind of network and one granularity.

        Values of `tuned` replace those of `granularities`, and these replace those of `methods`.

        Parameters
        ----------
        name
            Name of the method.
        workload
            Name of the workload, whose kind of network counts.
        granularity
            What the method removes.
        """
        key = cast(Granularity, granularity)
        own = self.granularities.get(name, {}).get(key, {})
        found = self.tuned.get(name, {}).get(self.workloads[workload].network.kind, {})
        return self.methods.get(name, {}) | own | found.get(key, {})

    def board(self, name: str) -> Board:
        """Return a board.

        Raises
        ------
        InputError
            If there is no board of this name.
        """
        if name not in self.boards:
            raise unknown("board", name, self.boards)
        return self.boards[name]

    def cells(
        self,
        board: str,
        workloads: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        densities: Sequence[float | str] | None = None,
        *,
        admit: bool = True,
    ) -> list[RunSpec]:
        """Return all cells of a board, or those of some of its workloads, methods and densities.

        Parameters
        ----------
        board
            Name of the board.
        workloads, methods, densities
            As for `Board.places`; None: all of the board.
        admit
            As for `spec`.

        Raises
        ------
        InputError
            If the board has no such workload, method or density.
        """
        places = self.board(board).places(self.workloads, workloads, methods, densities)
        cells: list[RunSpec] = []
        first: dict[Place, RunSpec] = {}  # the cell of each place with its first seed
        for place in places:
            any_seed = place._replace(seed=0)  # nothing else depends on the seed
            if any_seed not in first:
                first[any_seed] = self.spec(*place, admit=admit)
            cells.append(replace(first[any_seed], seed=place.seed))
        return cells

    def size(self, board: str) -> int:
        """Count the cells of a board without building them."""
        return sum(1 for _ in self.board(board).places(self.workloads))

    def matched(
        self,
        board: str,
        store: Store,
        workloads: Sequence[str] | None = None,
        densities: Sequence[float | str] | None = None,
        *,
        admit: bool = True,
    ) -> list[RunSpec]:
        """Return the matched runs: baselines at the density that each emergent cell reached.

        A matched run has the workload, granularity, seed and track of its emergent cell. An
        emergent cell without a finished record has no matched runs yet.

        Parameters
        ----------
        board
            Name of the board.
        store
            Records of the board.
        workloads, densities
            As for `Board.places`; None: all of the board.
        admit
            As for `spec`.
        """
        places = self.board(board).places(self.workloads, workloads, None, densities)
        cells = (self.spec(*place, admit=admit) for place in places if place.density == EMERGENT)
        return [
            run
            for cell in cells
            for run in self.matched_of(board, cell, store.find(cell), admit=admit)
        ]

    def matched_of(
        self, board: str, cell: RunSpec, record: RunRecord | None, *, admit: bool = True
    ) -> list[RunSpec]:
        """Return the matched runs of an emergent cell.

        Parameters
        ----------
        board
            Name of the board.
        cell
            Any cell of the board; only emergent ones have matched runs.
        record
            Its record.
        admit
            As for `spec`.
        """
        if cell.density != EMERGENT:
            return []
        place = Place(
            cell.workload, cell.name, cell.granularity, cell.density, cell.seed, cell.track
        )
        return [
            replace(
                self.spec(*place._replace(name=name, density=density), admit=admit),
                matched_to=place.name,
            )
            for density in reached(record)
            for name in self.matched_names(board, place)
        ]

    def matched_names(self, board: str, place: Place) -> list[str]:
        """Return the board's baselines that have matched runs of a cell.

        They support its granularity, track and workload. A spatio-temporal cell has none, because a
        density does not say how many time steps to silence; its shuffled control has the same
        number.
        """
        grid = self.board(board)
        return [
            name
            for name in (grid.baselines if grid.matched is None else grid.matched)
            for about in (info(name.partition(":")[0]),)
            if place.granularity != SPATIO_TEMPORAL
            and place.granularity in about.granularities
            and (not grid.tables or grid.compares(name, place.workload, place.granularity))
            and place.track in about.tracks
            and fits(about, self.workloads[place.workload])
        ]

    def controls(
        self,
        board: str,
        store: Store,
        workloads: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        densities: Sequence[float | str] | None = None,
        *,
        admit: bool = True,
    ) -> list[RunSpec]:
        """Return the controls of the board's pruned cells; matched runs have no controls.

        A cell without a finished record has no controls yet.

        Parameters
        ----------
        board
            Name of the board.
        store
            Records of the board.
        workloads, methods, densities
            As for `Board.places`; None: all of the board.
        admit
            As for `spec`.
        """
        if not self.board(board).controls:
            return []
        return [
            control
            for cell in self.cells(board, workloads, methods, densities, admit=admit)
            for control in self.controls_of(board, cell, store.find(cell))
        ]

    def controls_of(self, board: str, cell: RunSpec, record: RunRecord | None) -> list[RunSpec]:
        """Return the controls of a cell of a board; `record` is that of the cell."""
        if not reached(record):
            return []
        controls = (replace(cell, control=kind) for kind in self.board(board).controls)
        return [control for control in controls if refusal(control) is None]

    def part(
        self,
        what: Part,
        board: str,
        store: Store,
        workloads: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        densities: Sequence[float | str] | None = None,
    ) -> list[RunSpec]:
        """Return one part of a board: the result of `cells`, `matched` or `controls`."""
        if what == "matched":
            return self.matched(board, store, workloads, densities)
        if what == "controls":
            return self.controls(board, store, workloads, methods, densities)
        return self.cells(board, workloads, methods, densities)

    def everything(self, board: str, store: Store) -> list[RunSpec]:
        """Return all runs of a board: cells, matched runs and controls."""
        return [
            *self.cells(board, admit=False),
            *self.matched(board, store, admit=False),
            *self.controls(board, store, admit=False),
        ]


def reached(record: RunRecord | None) -> list[float]:
    """Return the density of a finished run, rounded to four digits; an empty list without one.

    Parameters
    ----------
    record
        The record of an emergent cell, or of the parent of a control; None if it has none.
    """
    if record is None or record.status != "ok" or record.outcome is None:
        return []
    return [round(record.outcome.cost.density, 4)]


def _with_methods(fields: Any, entries: Mapping[str, Entry], path: Path) -> Any:
    """Add hyper-parameters and search spaces of methods.yaml to the fields of params.yaml."""
    if not isinstance(fields, dict):
        return fields
    for key in ("methods", "granularities", "tuned"):
        if key in fields:
            raise InputError(f"{path} has the key '{key}'; move hyper-parameters to {METHODS}.")
    tuning = fields.get("tuning")
    if isinstance(tuning, dict):
        if "spaces" in tuning:
            raise InputError(
                f"{path} has the key 'tuning.spaces'; move search spaces to {METHODS}."
            )
        spaces = {name: entry.space for name, entry in entries.items() if entry.space}
        fields = fields | {"tuning": tuning | {"spaces": spaces}}
    granularities = {n: entry.granularities for n, entry in entries.items() if entry.granularities}
    return fields | {
        "methods": {name: entry.options for name, entry in entries.items()},
        "granularities": granularities,
        "tuned": {name: entry.tuned for name, entry in entries.items() if entry.tuned},
    }


def load_params(root: Path, device: Device | None = None) -> Params:
    """Read params.yaml and methods.yaml.

    Parameters
    ----------
    root
        The project's folder.
    device
        Replaces ``compute.device`` unless it is None.

    Returns
    -------
    Params
        The settings of both files.

    Raises
    ------
    InputError
        If one of the files is not valid.
    """
    path = root / PARAMS
    entries = read_entries(root)
    try:
        fields = load_yaml(path)
        params = Params.model_validate(_with_methods(fields, entries, path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; restore it with: git checkout {PARAMS}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from error
    if device is None:
        return params
    compute = params.compute.model_copy(update={"device": device})
    return params.model_copy(update={"compute": compute})


def read_density(name: str, text: str | None) -> float | str:
    """Read a density that was given on the command line.

    Parameters
    ----------
    name
        METHOD or METHOD:VARIANT.
    text
        The option's text; None: the option was not given.

    Returns
    -------
    float or str
        A number, ``emergent``, or 1.0 for a method that prunes nothing if `text` is None.

    Raises
    ------
    InputError
        If the density is missing for a method that prunes, or is neither a number nor ``emergent``.
    """
    if text is None:
        if info(name.partition(":")[0]).granularities == ("none",):
            return 1.0
        raise InputError(f"method '{name}' needs --density, for example 0.25.")
    return _density(text)


def read_densities(texts: Sequence[str] | None) -> list[float | str] | None:
    """Read the densities of the option ``--density`` of commands for boards; None stays None.

    Raises
    ------
    InputError
        If one is neither a number nor ``emergent``.
    """
    return [_density(text) for text in texts] if texts else None


def _density(text: str) -> float | str:
    if text == EMERGENT:
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"density '{text}' is neither a number in (0, 1] nor 'emergent'."
        ) from None
