"""Data sets of the user's own: what params.yaml says of them, and their names.

A data set has one name everywhere, also in records. That of an own data set says what it is:
``images:FOLDER``, ``tonic:NAME``, or ``factory:package.module:function`` and its options in JSON.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipelines.common.errors import first_fault
from pipelines.common.factory import check_name

_KINDS = ("images", "tonic", "factory")


class OwnData(BaseModel):
    """A data set that is not in the table of data sets.

    Parameters
    ----------
    images
        Folder or ``.zip`` with one subfolder of images for each class; or with ``train`` and
        ``test``, folders or archives of that form. It is searched in the folder of params.yaml,
        then in that of the environment variable DPAP_BENCH_DATA.
    tonic
        Name of a class of ``tonic.datasets``.
    factory
        ``package.module:function``; the function returns (inputs, labels), or one such pair for
        training and one for the test.
    options
        Arguments of the factory, by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: str = ""
    tonic: str = Field("", pattern=r"^\w*$")
    factory: str = ""
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("factory")
    @classmethod
    def _named(cls, factory: str) -> str:
        return check_name(factory) if factory else factory

    @model_validator(mode="after")
    def _one_kind(self) -> OwnData:
        if sum(bool(getattr(self, kind)) for kind in _KINDS) != 1:
            raise ValueError("give one of 'images', 'tonic' and 'factory'")
        if self.options and not self.factory:
            raise ValueError("'options' are those of a 'factory'; remove them")
        return self

    @property
    def name(self) -> str:
        """The name of the data set."""
        kind = next(kind for kind in _KINDS if getattr(self, kind))
        options = f" {json.dumps(self.options, sort_keys=True)}" if self.options else ""
        return f"{kind}:{getattr(self, kind)}{options}"


def data_name(given: Any) -> Any:
    """Return the name of what params.yaml says of a data set; ValueError if it is not valid."""
    try:
        if isinstance(given, dict):
            return OwnData.model_validate(given).name
        if isinstance(given, str):
            own_data(given)
    except ValidationError as error:
        raise ValueError(first_fault(error).rstrip(".")) from error
    return given


@lru_cache(maxsize=64)
def own_data(name: str) -> OwnData | None:
    """Return the own data set of a name; None if the name is that of the table of data sets.

    Raises
    ------
    ValueError
        If the name says something that is not valid.
    """
    kind, colon, rest = name.partition(":")
    if not colon or kind not in _KINDS:
        return None
    if kind != "factory":
        return OwnData.model_validate({kind: rest})
    factory, _, options = rest.partition(" ")
    return OwnData(factory=factory, options=json.loads(options) if options else {})
