"""Parts of Vega-Lite specifications that figures share, and drawing to SVG and PNG.

A figure is a dict that follows the schema of Vega-Lite; the tests validate every figure.
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
    """Make a channel of a number; `more` are its properties: title, scale, axis, format."""
    return {"field": field, "type": "quantitative", **more}


def nominal(field: str, **more: object) -> Part:
    """Make a channel of a category without an order."""
    return {"field": field, "type": "nominal", **more}


def data(values: Sequence[Part]) -> Part:
    """Make the data of a figure or of one layer."""
    return {"values": values}


def layer(
    mark: str, channels: Part, *, only: str = "", of: Part | None = None, **style: object
) -> Part:
    """Make a layer with one mark for each row.

    Parameters
    ----------
    mark, style
        Type of the mark, and its properties.
    channels
        Channels by name: x, y, color.
    only
        Vega expression; only rows for which it is true are drawn.
    of
        Data of this layer; None for the data of the figure.
    """
    part: Part = {"mark": {"type": mark, **style}, "encoding": channels}
    if only:
        part["transform"] = [{"filter": only}]
    return part if of is None else part | {"data": of}


def figure(title: str, **content: object) -> Part:
    """Make a whole specification."""
    return {"$schema": _SCHEMA, "title": title, **content}


def draw(specification: Part) -> str:
    """Draw a figure as SVG."""
    return str(vl_convert.vegalite_to_svg(specification))


def png(picture: str, scale: int = 2) -> bytes:
    """Convert an SVG to PNG; `scale` is the number of pixels per point."""
    return bytes(vl_convert.svg_to_png(picture, scale=scale))


def save(picture: str, folder: Path, name: str) -> None:
    """Write an SVG as `name`.svg and as `name`.png into `folder`."""
    with atomic_file(folder / f"{name}.svg") as file:
        file.write(picture.encode())
    with atomic_file(folder / f"{name}.png") as file:
        file.write(png(picture))
