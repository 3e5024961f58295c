"""Structs of records, by msgspec. Settings, which people write, are models of pydantic."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A part of a record. Types are checked on reading and writing.

    ``msgspec.structs.replace`` makes a changed copy.
    """


Part = TypeVar("Part", bound=Stored)


def decoder(kind: type[Part]) -> msgspec.json.Decoder[Part]:
    """Return a decoder of JSON to a part; it raises ``msgspec.DecodeError`` for other content."""
    return msgspec.json.Decoder(kind, dec_hook=_from_fields)


def checked(kind: type[Part], fields: dict[str, Any]) -> Part:
    """Make a part from fields of unchecked types.

    Raises
    ------
    msgspec.ValidationError
        If a field has a wrong type.
    """
    return msgspec.convert(fields, kind, str_keys=True, dec_hook=_from_fields)


def as_json(part: Stored) -> dict[str, Any]:
    """Return the fields as JSON types, equal to those of a part read back: 0 becomes 0.0.

    Raises
    ------
    msgspec.ValidationError
        If a field has a wrong type.
    """
    return _fields(checked(type(part), _fields(part)))


def _fields(part: Stored) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(part, str_keys=True, enc_hook=_to_fields)
    return fields


def _to_fields(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, float):  # NumPy's float64
        return float(value)
    raise NotImplementedError(f"a record cannot hold a {type(value).__name__}.")


def _from_fields(kind: type[BaseModel], fields: Any) -> BaseModel:
    if isinstance(fields, dict):
        return _read(kind, msgspec.json.encode(fields))
    return kind.model_validate(fields)


@lru_cache
def _read(kind: type[BaseModel], text: bytes) -> BaseModel:
    """Validate a model once; thousands of records share workloads and environments."""
    return kind.model_validate_json(text)
