"""params.yaml: what people write, validated, and the cells that it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from baselines.info import Granularity
from pipelines.core.catalogue import info
from pipelines.core.errors import BenchError, InputError, unknown
from pipelines.core.spec import EMERGENT, Density, Device, RunSpec
from pipelines.core.workloads import Workload
from pipelines.spaces import Tuning

if TYPE_CHECKING:
    from pipelines.core.record import RunRecord
    from pipelines.core.store import Store

PARAMS = "params.yaml"


class Board(BaseModel):
    """One comparison: the grid of workloads, methods, densities and seeds.

    Parameters
    ----------
    workloads
        Names of workloads.
    baselines, dpap
        Names of methods; DPAP and its variants apart, because they share files.
    granularities
        Only these; all that a method can do if empty.
    densities
        Target densities of every method.
    emergent
        Whether methods that can also run without a target.
    seeds
        Seeds, paired across methods.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workloads: tuple[str, ...] = Field(min_length=1)
    baselines: tuple[str, ...] = ()
    dpap: tuple[str, ...] = ()
    granularities: tuple[Granularity, ...] = ()
    densities: tuple[Density, ...] = ()
    emergent: bool = False
    seeds: tuple[int, ...] = Field(min_length=1)

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods of the board."""
        return self.baselines + self.dpap


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
        self, workload: str, name: str, granularity: str | None, density: float | str, seed: int
    ) -> RunSpec:
        """Build one cell; `name` is METHOD or METHOD:VARIANT, granularity None its default.

        Raises
        ------
        InputError
            If a name is unknown, or the method cannot do what is asked.
        """
        if workload not in self.workloads:
            raise unknown("workload", workload, self.workloads)
        name, _, variant = name.partition(":")
        granularities = info(name).granularities
        changes = self.variants.get(name, {})
        if variant and variant not in changes:
            raise unknown(f"variant of method '{name}'", variant, changes)
        if isinstance(density, float) and not 0 < density <= 1:
            raise InputError(
                f"density {density:g} is not in (0, 1]; it is the kept share of the prunable "
                "weights, for example 0.25."
            )
        try:
            spec = RunSpec(
                workload=workload,
                settings=self.workloads[workload],
                method=name,
                granularity=granularity or granularities[0],
                density=density,
                seed=seed,
                options=self.methods.get(name, {}) | changes.get(variant, {}),
                variant=variant,
                threads=self.compute.threads,
                device=self.compute.device,
            )
        except ValidationError as error:
            raise InputError(_sentence(error)) from error
        from pipelines.core.cell import check  # imports torch

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
    ) -> list[RunSpec]:
        """Every cell of a board, or those of some of its workloads and methods.

        Raises
        ------
        InputError
            If the board has no such workload or method.
        """
        return [self.spec(*cell) for cell in self._places(self.board(board), workloads, methods)]

    def size(self, board: str) -> int:
        """Count the cells of a board, without building them."""
        return sum(1 for _ in self._places(self.board(board)))

    def twins(
        self, board: str, store: Store, workloads: Sequence[str] | None = None
    ) -> list[RunSpec]:
        """Baselines at the densities that the board's emergent cells reached, seed by seed.

        Cells without a finished record have no twins yet.
        """
        emergent = (
            self.spec(*place)
            for place in self._places(self.board(board), workloads)
            if place[3] == EMERGENT
        )
        return [
            self.spec(cell.workload, name, cell.granularity, density, cell.seed).model_copy(
                update={"twin_of": cell.name}
            )
            for cell in emergent
            for density in _reached(store.find(cell))
            for name in self.board(board).baselines
            if cell.granularity in info(name).granularities
        ]

    def _places(
        self,
        grid: Board,
        workloads: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
    ) -> Iterator[tuple[str, str, str, float | str, int]]:
        """Arguments of `spec` for every cell."""
        for kind, wanted, known in (
            ("workload of the board", workloads, grid.workloads),
            ("method of the board", methods, grid.methods),
        ):
            for name in wanted or ():
                if name not in known:
                    raise unknown(kind, name, known)
        for workload in workloads or grid.workloads:
            for name in methods or grid.methods:
                if self._fits(workload, name):
                    for granularity, density in self._targets(grid, name):
                        for seed in grid.seeds:
                            yield workload, name, granularity, density, seed

    def _fits(self, workload: str, name: str) -> bool:
        """Whether a board's method makes sense on a workload; unknown ones are told later."""
        spikes = info(name.partition(":")[0]).needs_spikes
        settings = self.workloads.get(workload)
        return settings is None or not spikes or settings.network.kind == "snn"

    @staticmethod
    def _targets(grid: Board, name: str) -> Iterator[tuple[str, float | str]]:
        about = info(name.partition(":")[0])
        for granularity in grid.granularities or about.granularities:
            if granularity not in about.granularities:
                continue
            if granularity == "none":
                yield granularity, 1.0
                continue
            if grid.emergent and about.emergent:
                yield granularity, EMERGENT
            for density in grid.densities:
                yield granularity, density


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
        params = Params.model_validate(yaml.safe_load(path.read_text()))
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
