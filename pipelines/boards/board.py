"""Boards: which cells one comparison consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from baselines.shared.info import Granularity, PrunerInfo, Track
from pipelines.common.errors import unknown
from pipelines.common.structs import LARGEST
from pipelines.methods.catalogue import info
from pipelines.settings.spec import EMERGENT, RANDOM, SPATIO_TEMPORAL, Control
from pipelines.settings.workload import Workload

Density = Annotated[float, Field(gt=0, le=1)] | Literal["emergent"]


class Place(NamedTuple):
    """The coordinates of one cell on a board.

    Parameters
    ----------
    workload
        Name of the workload.
    name
        METHOD or METHOD:VARIANT.
    granularity, density, seed, track
        As in `pipelines.settings.spec.RunSpec`.
    """

    workload: str
    name: str
    granularity: str
    density: float | str
    seed: int
    track: Track


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
    workload_densities
        Workload -> target densities that replace `densities` for this workload.
    emergent
        Whether methods that can find a density themselves also run without a target density.
    seeds
        Seeds; every method has the same ones.
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
    workload_densities: dict[str, tuple[Density, ...]] = Field(default_factory=dict)
    emergent: bool = False
    seeds: tuple[Annotated[int, Field(ge=0, le=LARGEST)], ...] = Field(min_length=1)
    tracks: tuple[Track, ...] = Field(("from-scratch",), min_length=1)
    controls: tuple[Control, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Board:
        for key in ("workloads", "methods", "granularities", "densities", "seeds", "tracks"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"a value is there twice among the {key}; keep one of them")
        return self

    @model_validator(mode="after")
    def _own_workloads(self) -> Board:
        for name in self.workload_densities:
            if name not in self.workloads:
                raise ValueError(f"workload_densities names '{name}', which is not on the board")
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods of the board."""
        return self.baselines + self.dpap

    def require(
        self, workloads: Sequence[str] | None = None, methods: Sequence[str] | None = None
    ) -> None:
        """Raise InputError if the board has not all of these workloads and methods."""
        for kind, wanted, there in (
            ("workload of the board", workloads, self.workloads),
            ("method of the board", methods, self.methods),
        ):
            for name in wanted or ():
                if name not in there:
                    raise unknown(kind, name, there)

    def places(
        self,
        known: Mapping[str, Workload],
        workloads: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
    ) -> Iterator[Place]:
        """Yield the cells of the board, or those of some of its workloads and methods.

        Combinations that a method does not support are left out.

        Parameters
        ----------
        known
            Workload -> its settings.
        workloads, methods
            Names; None: all of the board.

        Yields
        ------
        Place
            The coordinates of one cell.

        Raises
        ------
        InputError
            If the board has no such workload or method.
        """
        self.require(workloads, methods)
        for workload in workloads or self.workloads:
            for name in methods or self.methods:
                about = info(name.partition(":")[0])
                if fits(about, known.get(workload)):
                    for track in (t for t in self.tracks if t in about.tracks):
                        for granularity, density in self._targets(about, workload, known):
                            for seed in self.seeds:
                                yield Place(workload, name, granularity, density, seed, track)

    def _targets(
        self, about: PrunerInfo, workload: str, known: Mapping[str, Workload]
    ) -> Iterator[tuple[str, float | str]]:
        """Yield granularity and density of the cells of a method on a workload."""
        for granularity in self.granularities or about.granularities:
            if granularity not in about.granularities or not self._wanted(about, granularity):
                continue
            if not fits(about, known.get(workload), granularity):
                continue
            if granularity == "none":
                yield granularity, 1.0
                continue
            if self.emergent and about.emergent:
                yield granularity, EMERGENT
            for density in self.workload_densities.get(workload, self.densities):
                yield granularity, density

    def _wanted(self, about: PrunerInfo, granularity: str) -> bool:
        """Whether a method is compared at a granularity: `random` only where others prune."""
        others = (info(name.partition(":")[0]) for name in self.methods)
        return about.name != RANDOM or any(
            granularity in other.granularities for other in others if other.name != RANDOM
        )


def fits(about: PrunerInfo, settings: Workload | None, granularity: str = "") -> bool:
    """Whether a method can run on a workload: some need spikes, and time steps need them too.

    Parameters
    ----------
    about
        Metadata of the method.
    settings
        The workload. None stands for an unknown workload, which `Params.spec` refuses later.
    granularity
        What is removed; empty: anything.
    """
    spiking = about.needs_spikes or granularity == SPATIO_TEMPORAL
    return settings is None or not spiking or settings.network.kind == "snn"
