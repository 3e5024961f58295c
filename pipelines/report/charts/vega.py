"""Vega-Lite in Python: the parts that figures share, and drawing them.

A figure is a dict in Vega-Lite's own words; tests hold every one against its schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import vl_convert

from pipelines.common.files import atomic_file

#: A part of a specification.
Part = dict[str, Any]

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def quantitative(field: str, **more: object) -> Part:
    """Show a number; `more` are properties of the channel: title, scale, axis, format."""
    return {"field": field, "type": "quantitative", **more}


def nominal(field: str, **more: object) -> Part:
    """Show a name, one of a few without an order."""
    return {"field": field, "type": "nominal", **more}


def data(values: Sequence[Part]) -> Part:
    """Rows of a figure, or of one layer."""
    return {"values": values}


def layer(
    mark: str, channels: Part, *, only: str = "", of: Part | None = None, **style: object
) -> Part:
    """One mark for each row.

    Parameters
    ----------
    mark, style
        Its type, and its properties.
    channels
        What each channel shows: x, y, color.
    only
        Vega expression: rows for which it does not hold are left out.
    of
        Rows of its own; None for those of the figure.
    """
    part: Part = {"mark": {"type": mark, **style}, "encoding": channels}
    if only:
        part["transform"] = [{"filter": only}]
    return part if of is None else part | {"data": of}


def figure(title: str, **content: object) -> Part:
    """Return a whole specification."""
    return {"$schema": _SCHEMA, "title": title, **content}


def draw(specification: Part) -> str:
    """SVG of a figure."""
    return str(vl_convert.vegalite_to_svg(specification))


def png(picture: str, scale: int = 2) -> bytes:
    """PNG of an SVG; `scale` is pixels per point."""
    return bytes(vl_convert.svg_to_png(picture, scale=scale))


def save(picture: str, folder: Path, name: str) -> None:
    """Write an SVG as `name`.svg and as `name`.png into `folder`."""
    with atomic_file(folder / f"{name}.svg") as file:
        file.write(picture.encode())
    with atomic_file(folder / f"{name}.png") as file:
        file.write(png(picture))
