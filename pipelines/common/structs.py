"""Base class of specs and records: immutable msgspec structs whose types are checked.

People write settings, which pydantic reads: its error messages name the field and the fault. The
program writes specs and records, thousands of them: msgspec reads those faster.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from pydantic import BaseModel

#: Largest number that every program reads from JSON as the same integer.
LARGEST = 2**53
#: A number of things; one of which there is at least one; one that may be negative; a fraction.
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST)]
Whole = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base class of specs, of records, and of the structs inside them.

    The types of the fields are checked when a struct is read from JSON (`decoder`, `checked`) and
    when it is written (`as_json`). The constructor checks no types, as usual for msgspec.

    ``msgspec.structs.replace`` returns a copy with changed fields.
    """


StructT = TypeVar("StructT", bound=Struct)


def decoder(kind: type[StructT]) -> msgspec.json.Decoder[StructT]:
    """Return a decoder from JSON text to a struct.

    Its ``decode`` raises ``msgspec.DecodeError`` if the text does not hold such a struct.
    """
    return msgspec.json.Decoder(kind, dec_hook=_decode_model)


def checked(kind: type[StructT], fields: dict[str, Any]) -> StructT:
    """Build a struct from its fields, and check their types.

    Raises
    ------
    msgspec.ValidationError
        If a field has a wrong type or value, is missing, or is unknown.
    """
    return msgspec.convert(fields, kind, str_keys=True, dec_hook=_decode_model)


def as_json(struct: Struct) -> dict[str, Any]:
    """Return the fields of a struct as values that JSON can hold, and check their types.

    Numbers have the type of their field: the integer 0 in a float field becomes 0.0. So a struct
    gives the same fields before it is written and after it is read again.

    Raises
    ------
    msgspec.ValidationError
        If a field has a wrong type or value.
    """
    return _to_builtins(checked(type(struct), _to_builtins(struct)))


def _to_builtins(struct: Struct) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(struct, str_keys=True, enc_hook=_encode_value)
    return fields


def _encode_value(value: Any) -> Any:
    """Encode a value that msgspec does not know."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, float):  # a subclass, such as np.float64
        return float(value)
    raise NotImplementedError(f"a record cannot hold a value of type {type(value).__name__}.")


def _decode_model(kind: type[BaseModel], fields: Any) -> BaseModel:
    """Build a pydantic model, which msgspec does not know, from its decoded fields."""
    if isinstance(fields, dict):
        return _read_model(kind, msgspec.json.encode(fields))
    return kind.model_validate(fields)


@lru_cache
def _read_model(kind: type[BaseModel], text: bytes) -> BaseModel:
    """Read a pydantic model; thousands of records share the same workloads and environments."""
    return kind.model_validate_json(text)
