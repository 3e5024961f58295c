"""The command that lists methods, workloads, boards and data sets."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.options import Json, print_json, project_root
from pipelines.common.alignment import align

if TYPE_CHECKING:
    from pipelines.boards.params import Params


class Topic(StrEnum):
    """What can be listed."""

    methods = "methods"
    workloads = "workloads"
    boards = "boards"
    data = "data"


#: Columns that only the JSON output has.
_HIDDEN = {"tracks", "emergent", "after_abstract"}


def list_command(
    topic: Annotated[Topic, typer.Argument(help="What to list.")] = Topic.methods,
    as_json: Json = False,
) -> None:
    """List the methods, workloads, boards or data sets."""
    from pipelines.boards.params import load_params

    rows = rows_of(topic, load_params(project_root()))
    if as_json:
        print_json(rows)
    else:
        print(to_text(rows))


def rows_of(topic: Topic, params: Params) -> list[dict[str, Any]]:
    """Return one row per workload, board or data set; of methods, one per granularity.

    Parameters
    ----------
    topic
        What to list.
    params
        All settings.

    Returns
    -------
    list of dict
        Column -> value.
    """
    from pipelines.data import SOURCES
    from pipelines.methods.catalogue import infos

    if topic is Topic.methods:
        return [
            {
                "name": name,
                "granularity": granularity,
                "emergent": info.emergent,
                "tracks": list(info.tracks),
                "after_abstract": info.after_abstract,
                "summary": info.summary,
                "paper": info.paper,
            }
            for name, info in infos().items()
            for granularity in info.granularities
        ]
    if topic is Topic.workloads:
        return [
            {"name": name, "data": w.data, "network": w.network.title, "kind": w.network.kind}
            | {"time_steps": w.network.time_steps, "epochs": w.recipe.epochs}
            for name, w in params.workloads.items()
        ]
    if topic is Topic.boards:
        return [
            {"name": name, "workloads": list(board.workloads), "methods": list(board.methods)}
            | {"cells": params.size(name)}
            for name, board in params.boards.items()
        ]
    return [{"name": name, "summary": source.summary} for name, source in SOURCES.items()]


def to_text(rows: list[dict[str, Any]]) -> str:
    """Return rows as a text with aligned columns."""
    cells = [
        [
            ", ".join(v) if isinstance(v, list) else str(v)
            for k, v in row.items()
            if k not in _HIDDEN
        ]
        for row in rows
    ]
    return "\n".join("  ".join(line).rstrip() for line in align(cells))
