"""Published results as their sources print them, read from results/published.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from baselines.shared.info import Granularity
from pipelines.common.errors import BenchError, first_fault
from pipelines.common.yaml import load_yaml
from pipelines.settings.layout import parse_layout
from pipelines.settings.network import NAMED

Percent = float


class PublishedMethod(BaseModel):
    """The methods of this suite that a published method corresponds to.

    Parameters
    ----------
    here
        Their names; several if each removes another granularity.
    counting
        What the published density counts; empty if unknown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    here: tuple[str, ...] = Field(min_length=1)
    counting: Literal["", "weights", "unrolled synapses", "not stated"] = ""


class PublishedResult(BaseModel):
    """One row of a published table; None where the source says nothing. Accuracies in percent.

    Parameters
    ----------
    method, citation, arxiv, year, venue
        The method and its source.
    dataset, network, kind, time_steps
        The task; the network as printed.
    granularity
        What is removed.
    dense_accuracy, accuracy, change
        Before and after pruning, and the difference in points.
    derived
        The accuracy that was computed from the other one and the printed change.
    pruned_percent
        What the source calls sparsity; the density is 1 minus this.
    operations
        What the source says about operations or energy, in its own words.
    source, confidence
        Where it was read; ``high`` for the primary source.
    note
        Further remarks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    citation: str
    arxiv: str | None = Field(None, pattern=r"^\d{4}\.\d{4,5}$")
    year: int = Field(ge=1990)
    venue: str | None = None
    dataset: str
    network: str | None = None
    kind: Literal["snn", "ann"]
    granularity: Granularity | None = None
    time_steps: int | None = Field(None, ge=1)
    dense_accuracy: Percent | None = Field(None, ge=0, le=100)
    accuracy: Percent | None = Field(None, ge=0, le=100)
    change: Percent | None = Field(None, ge=-100, le=100)
    derived: Literal["dense_accuracy", "accuracy"] | None = None
    pruned_percent: Percent | None = Field(None, ge=0, lt=100)
    operations: str | None = None
    source: str
    confidence: Literal["high", "medium"]
    note: str | None = None

    @model_validator(mode="after")
    def _the_change_is_the_difference(self) -> Self:
        if None not in (found := (self.dense_accuracy, self.accuracy, self.change)):
            dense, accuracy, change = (value or 0.0 for value in found)
            if abs(accuracy - dense - change) > 0.011:
                raise ValueError(f"{accuracy} - {dense} is not {change}")
        return self

    @property
    def density(self) -> float | None:
        """Kept share in [0, 1], as the source counts it."""
        return None if self.pruned_percent is None else 1 - self.pruned_percent / 100

    def _named(self, word: str) -> str | None:
        """Layout of a network by its printed name; it may depend on the data set or the kind."""
        name = word.replace("ResNet-", "ResNet")
        form = "CIFAR" if self.dataset.startswith("CIFAR") else self.kind.upper()
        return NAMED.get(f"{name}-{form}") or NAMED.get(name)

    @property
    def layout(self) -> str | None:
        """Layout of the network without its readout; None if its sizes are unknown here."""
        for word in (self.network or "").split()[::-1]:
            if named := self._named(word):
                return named
            body = word.rpartition("-")[0]
            try:
                parse_layout(body)
            except ValueError:
                continue
            return body
        return None


class Published(BaseModel):
    """The content of results/published.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: dict[str, PublishedMethod] = Field(default_factory=dict)
    results: tuple[PublishedResult, ...] = ()


def load_published(path: Path) -> Published:
    """Read published results; a missing file has none.

    Raises
    ------
    BenchError
        If the file is not valid.
    """
    if not path.exists():
        return Published()
    try:
        return Published.model_validate(load_yaml(path))
    except ValidationError as error:
        raise BenchError(f"{path}: {first_fault(error)}") from error
