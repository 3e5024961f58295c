"""Published claims, and how each is checked with the records of a board: results/claims.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from baselines.shared.info import Granularity, Track
from pipelines.boards.board import Density
from pipelines.common.errors import InputError, first_fault
from pipelines.common.yaml import read_yaml
from pipelines.report.analysis.rows import REFERENCE

#: Test accuracy; or the name of a metric in `pipelines.metrics.table`.
Quantity = Literal[
    "accuracy",
    "synops",
    "energy_nanojoule",
    "train_seconds",
    "latency_milliseconds",
    "density",
    "timestep_sparsity",
]
#: What a run is compared with, besides another method.
OWN_SHUFFLE = "own shuffle"


class Check(BaseModel):
    """One way to check a claim: a row of a board, what it is compared with, and a bound.

    Parameters
    ----------
    board, workload, granularity, density, method, track
        The row.
    against
        What the row is compared with: ``dense``, ``own shuffle``, or a method at the same density;
        None for a quantity that is compared with the bound alone.
    against_granularity
        Granularity of that method, if it is another one.
    quantity
        What is compared: the difference of accuracies, or the ratio of costs; without `against`
        the value.
    at_least, at_most
        The bound that the claim sets; exactly one of them. Points of accuracy, a ratio, or the unit
        of the quantity.
    differs
        What differs from the setting of the source.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    board: str = "desk"
    workload: str
    granularity: Granularity
    density: Density
    method: str
    track: Track = "from-scratch"
    against: str | None = None
    against_granularity: Granularity | None = None
    quantity: Quantity = "accuracy"
    at_least: float | None = None
    at_most: float | None = None
    differs: str = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a check has either at_least or at_most")
        if self.quantity == "accuracy" and self.against is None:
            raise ValueError("accuracies of different data are not compared; give 'against'")
        if self.against == OWN_SHUFFLE and self.quantity != "accuracy":
            raise ValueError("a shuffled control is compared by accuracy only")
        if self.quantity != "accuracy" and self.against is not None and self.bound <= 0:
            raise ValueError("the bound of a ratio is above 0")
        return self

    @property
    def bound(self) -> float:
        """The bound, whichever it is."""
        return next(one for one in (self.at_least, self.at_most) if one is not None)

    @property
    def methods(self) -> list[str]:
        """The methods whose records are needed."""
        others = [] if self.against in (None, OWN_SHUFFLE) else [str(self.against)]
        return list(dict.fromkeys([REFERENCE, *others, self.method]))


class Claim(BaseModel):
    """A statement of a publication, in our words.

    Parameters
    ----------
    claim
        The statement, in one sentence.
    citation, arxiv, where
        The source, its arXiv id if it has one, and the place in it.
    checks
        How it is checked; several if there are several near settings.
    cannot
        Why it cannot be checked with this suite, if it cannot.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: str = Field(min_length=1)
    citation: str
    arxiv: str | None = Field(None, pattern=r"^\d{4}\.\d{4,5}$")
    where: str
    checks: tuple[Check, ...] = ()
    cannot: str = ""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if bool(self.checks) == bool(self.cannot):
            raise ValueError("a claim has either checks or a reason why it cannot be checked")
        return self


class Claims(BaseModel):
    """The content of results/claims.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claims: tuple[Claim, ...] = Field(min_length=1)


def load_claims(path: Path) -> tuple[Claim, ...]:
    """Read published claims.

    Raises
    ------
    InputError
        If there is no such file, or it is not valid.
    """
    try:
        return Claims.model_validate(read_yaml(path.read_text())).claims
    except FileNotFoundError as error:
        raise InputError(
            f"there is no {path}; it is in git, so 'git checkout {path.name}' brings it back."
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from error
