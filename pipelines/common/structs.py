"""What records are made of: people write settings, which pydantic reads; runs write these."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A part of a record. Its types are checked when it is read and when it is written.

    ``msgspec.structs.replace`` makes a changed one.
    """


Part = TypeVar("Part", bound=Stored)


def decoder(kind: type[Part]) -> msgspec.json.Decoder[Part]:
    """Return what reads JSON as a part, and raises ``msgspec.DecodeError`` if it is none."""
    return msgspec.json.Decoder(kind, dec_hook=_from_fields)


def checked(kind: type[Part], fields: dict[str, Any]) -> Part:
    """Make a part whose fields may be of other types than they must be.

    Raises
    ------
    msgspec.ValidationError
        If one is.
    """
    return msgspec.convert(fields, kind, str_keys=True, dec_hook=_from_fields)


def as_json(part: Stored) -> dict[str, Any]:
    """Return the fields as JSON has them, and as a part that was read again would: 0 as 0.0.

    Raises
    ------
    msgspec.ValidationError
        If a field is of another type than it must be.
    """
    return _fields(checked(type(part), _fields(part)))


def _fields(part: Stored) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(part, str_keys=True, enc_hook=_to_fields)
    return fields


def _to_fields(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, float):  # one of NumPy's
        return float(value)
    raise NotImplementedError(f"a record cannot hold a {type(value).__name__}.")


def _from_fields(kind: type[BaseModel], fields: Any) -> BaseModel:
    if isinstance(fields, dict):
        return _read(kind, msgspec.json.encode(fields))
    return kind.model_validate(fields)


@lru_cache
def _read(kind: type[BaseModel], text: bytes) -> BaseModel:
    """Read what thousands of records share: workloads and environments."""
    return kind.model_validate_json(text)
