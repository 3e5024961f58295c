"""What is said about a method; it can be read without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Granularity = Literal["none", "structured", "unstructured", "hybrid", "spatio-temporal"]
Track = Literal["from-scratch", "post-training"]

#: Entry points by which other packages bring methods.
ENTRY_POINT = "dpap_bench.methods"


@dataclass(frozen=True)
class PrunerInfo:
    """What a reader, and the harness, must know of a method.

    Parameters
    ----------
    name
        What people type: ``--method NAME``.
    summary
        One sentence.
    paper
        Citation with arXiv id or DOI.
    granularities
        What it can remove; the first is the default.
    tracks
        Which comparisons it can enter.
    emergent
        Whether it can find its own density (no target given).
    needs_activity
        Whether `observe` must be called.
    needs_gradients
        Whether `gradients` must be called.
    needs_spikes
        Whether it makes sense for spiking networks only.
    regrows
        Whether units that it pruned may come back; if not, they may be removed for good.
    """

    name: str
    summary: str
    paper: str
    granularities: tuple[Granularity, ...]
    tracks: tuple[Track, ...] = ("from-scratch",)
    emergent: bool = False
    needs_activity: bool = False
    needs_gradients: bool = False
    needs_spikes: bool = False
    regrows: bool = False
