"""Boards: which cells one comparison consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from baselines.shared.info import Granularity, PrunerInfo, Track
from pipelines.common.errors import InputError, unknown
from pipelines.common.structs import LARGEST
from pipelines.methods.catalogue import info
from pipelines.settings.spec import EMERGENT, RANDOM, SPATIO_TEMPORAL, SYNOPS, Control
from pipelines.settings.workload import Workload

Density = Annotated[float, Field(gt=0, le=1)] | Literal["emergent"]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, le=LARGEST)], ...], Field(min_length=1)]


class Place(NamedTuple):
    """The coordinates of one cell on a board.

    Parameters
    ----------
    workload
        Name of the workload.
    name
        METHOD or METHOD:VARIANT.
    granularity, density, seed, track, synops
        As in `pipelines.settings.spec.RunSpec`.
    """

    workload: str
    name: str
    granularity: str
    density: float | str
    seed: int
    track: Track
    synops: float | None = None


class Board(BaseModel):
    """One comparison: the grid of workloads, methods, densities and seeds.

    Parameters
    ----------
    workloads
        Names of workloads.
    baselines
        Names of the methods that DPAP is compared with.
    dpap
        Names of DPAP and its variants. They are listed apart from the baselines because they share
        files.
    granularities
        Granularities of the board; if empty, each method has all that it supports.
    densities
        Target densities of every method.
    granularity_densities
        Granularity -> target densities that replace `densities` for this granularity.
    workload_densities
        Workload -> target densities that replace both for this workload.
    synops
        Workload -> target SynOps per sample of every method that can aim at SynOps.
    tables
        Workload -> granularity -> the methods compared there. It keeps a board of many methods
        small; if empty, each method has all granularities that it supports. The unpruned network
        needs no entry.
    emergent
        Whether methods that can find a density themselves also run without a target density.
    matched
        Which baselines have matched runs, at the densities that were found; None: all.
    seeds
        Seeds; every method has the same ones.
    workload_seeds
        Workload -> target density -> seeds that replace `seeds` there. The unpruned network has all
        seeds that some density of its workload has.
    tracks
        ``from-scratch``, ``post-training`` or both. A method has no cells on a track that it does
        not support.
    controls
        Which controls every pruned cell has: ``shuffled``, ``reinit`` or both.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workloads: tuple[str, ...] = Field(min_length=1)
    baselines: tuple[str, ...] = ()
    dpap: tuple[str, ...] = ()
    granularities: tuple[Granularity, ...] = ()
    densities: tuple[Density, ...] = ()
    granularity_densities: dict[Granularity, tuple[Density, ...]] = Field(default_factory=dict)
    workload_densities: dict[str, tuple[Density, ...]] = Field(default_factory=dict)
    synops: dict[str, tuple[Annotated[float, Field(gt=0)], ...]] = Field(default_factory=dict)
    tables: dict[str, dict[Granularity, tuple[str, ...]]] = Field(default_factory=dict)
    emergent: bool = False
    matched: tuple[str, ...] | None = None
    seeds: Seeds
    workload_seeds: dict[str, dict[Density, Seeds]] = Field(default_factory=dict)
    tracks: tuple[Track, ...] = Field(("from-scratch",), min_length=1)
    controls: tuple[Control, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Board:
        keys = ("workloads", "methods", "granularities", "densities", "seeds", "tracks")
        groups: dict[str, Sequence[object]] = {key: getattr(self, key) for key in keys}
        for workload, own in self.workload_seeds.items():
            groups |= {f"seeds of {workload} at {density}": own[density] for density in own}
        for name, values in groups.items():
            if len(set(values)) < len(values):
                raise ValueError(f"a value is there twice among the {name}; keep one of them")
        return self

    @model_validator(mode="after")
    def _own_names(self) -> Board:
        compared = (
            one for table in self.tables.values() for names in table.values() for one in names
        )
        for field, names, there in (
            ("workload_densities", self.workload_densities, self.workloads),
            ("synops", self.synops, self.workloads),
            ("workload_seeds", self.workload_seeds, self.workloads),
            ("tables", self.tables, self.workloads),
            ("tables", compared, self.methods),
            ("matched", self.matched or (), self.baselines),
        ):
            for name in names:
                if name not in there:
                    raise ValueError(f"{field} names '{name}', which is not on the board")
        for workload, seeds in self.workload_seeds.items():
            for density in seeds:
                if density not in self.targets:
                    raise ValueError(
                        f"workload_seeds names density {density} for {workload}, which is not on "
                        f"the board; it has {_listed(self.targets)}"
                    )
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods of the board."""
        return self.baselines + self.dpap

    @property
    def targets(self) -> tuple[Density, ...]:
        """All target densities of the board, each once."""
        groups = (*self.granularity_densities.values(), *self.workload_densities.values())
        found = [*self.densities, *(density for group in groups for density in group)]
        return tuple(dict.fromkeys([*found, *([EMERGENT] if self.emergent else [])]))

    @property
    def all_seeds(self) -> Seeds:
        """All seeds of the board, each once."""
        groups = (group for own in self.workload_seeds.values() for group in own.values())
        return _distinct(self.seeds, *groups)

    def with_baselines(self, names: Sequence[str]) -> Board:
        """Return the board with more baselines, in every table whose granularity they support."""
        tables = {
            workload: {
                granularity: (*there, *(name for name in names if _prunes(name, granularity)))
                for granularity, there in table.items()
            }
            for workload, table in self.tables.items()
        }
        update = {"baselines": (*self.baselines, *names), "tables": tables}
        return self.model_copy(update=update)

    def places(
        self,
        known: Mapping[str, Workload],
        workloads: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        densities: Sequence[float | str] | None = None,
    ) -> Iterator[Place]:
        """Yield the cells of the board, or those of some of its workloads, methods and densities.

        Combinations that a method does not support are left out. The order is that of the board:
        workload by workload, and method by method.

        Parameters
        ----------
        known
            Workload -> its settings.
        workloads, methods
            Names; None: all of the board.
        densities
            Target densities; the unpruned network comes with any of them. None: all of the board.

        Yields
        ------
        Place
            The coordinates of one cell.

        Raises
        ------
        InputError
            If the board has no such workload, method or density.
        """
        self.require(workloads, methods, densities)
        for workload in workloads or self.workloads:
            for name in methods or self.methods:
                about = info(name.partition(":")[0])
                if fits(about, known.get(workload)):
                    for track in (t for t in self.tracks if t in about.tracks):
                        targets = self._targets(name, workload, known, densities)
                        for granularity, density, synops in targets:
                            for seed in self._seeds(workload, granularity, density):
                                yield Place(
                                    workload, name, granularity, density, seed, track, synops
                                )

    def require(
        self,
        workloads: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        densities: Sequence[float | str] | None = None,
    ) -> None:
        """Raise InputError if the board has no such workload, method or density."""
        for kind, wanted, there in (
            ("workload of the board", workloads, self.workloads),
            ("method of the board", methods, self.methods),
        ):
            for name in wanted or ():
                if name not in there:
                    raise unknown(kind, name, there)
        for density in densities or ():
            if density not in self.targets:
                raise InputError(
                    f"the board has no density {density}; it has {_listed(self.targets)}."
                )

    def _targets(
        self,
        name: str,
        workload: str,
        known: Mapping[str, Workload],
        densities: Sequence[float | str] | None,
    ) -> Iterator[tuple[str, float | str, float | None]]:
        """Yield granularity, density and target SynOps of the cells of a method on a workload."""
        about = info(name.partition(":")[0])
        for granularity in self.granularities or about.granularities:
            if granularity not in about.granularities:
                continue
            if not self.compares(name, workload, granularity):
                continue
            if not fits(about, known.get(workload), granularity):
                continue
            if granularity == "none":
                yield granularity, 1.0, None
                continue
            usual = self.granularity_densities.get(granularity, self.densities)
            targets = self.workload_densities.get(workload, usual)
            found = (EMERGENT,) if self.emergent and about.emergent else ()
            for density in (*found, *targets):
                if densities is None or density in densities:
                    yield granularity, density, None
            if about.aims_at_synops and granularity != SPATIO_TEMPORAL and densities is None:
                for synops in self.synops.get(workload, ()):
                    yield granularity, SYNOPS, synops

    def _seeds(self, workload: str, granularity: str, density: float | str) -> Seeds:
        own = self.workload_seeds.get(workload, {})
        if granularity == "none":
            return _distinct(self.seeds, *own.values())
        return own.get(cast(Density, density), self.seeds)

    def compares(self, name: str, workload: str, granularity: str) -> bool:
        """Whether the board has a method in a table, if the method supports the granularity.

        Without `tables`, `random` is compared only where others prune.
        """
        about = info(name.partition(":")[0])
        if self.tables:
            table = self.tables.get(workload, {}).get(cast(Granularity, granularity), ())
            return granularity == "none" or name in table
        others = (info(name.partition(":")[0]) for name in self.methods)
        return about.name != RANDOM or any(
            granularity in other.granularities for other in others if other.name != RANDOM
        )


def _prunes(name: str, granularity: str) -> bool:
    return granularity in info(name.partition(":")[0]).granularities


def _distinct(*groups: Seeds) -> Seeds:
    return tuple(dict.fromkeys(seed for group in groups for seed in group))


def _listed(targets: Sequence[Density]) -> str:
    return ", ".join(map(str, targets))


def fits(about: PrunerInfo, settings: Workload | None, granularity: str = "") -> bool:
    """Whether a method can run on a workload: some need spikes, and time steps need them too.

    The network of a factory cannot lose single time steps.

    Parameters
    ----------
    about
        Metadata of the method.
    settings
        The workload. None stands for an unknown workload, which `Params.spec` refuses later.
    granularity
        What is removed; empty: anything.
    """
    if settings is None:
        return True
    if granularity == SPATIO_TEMPORAL and settings.network.factory:
        return False
    spiking = about.needs_spikes or granularity == SPATIO_TEMPORAL
    return not spiking or settings.network.kind == "snn"
