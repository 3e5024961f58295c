"""Metadata of a method. This module does not import torch, so that listing methods is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Granularity = Literal["none", "structured", "unstructured", "hybrid", "spatio-temporal"]
Track = Literal["from-scratch", "post-training"]

#: Entry-point group in which other packages register their methods.
ENTRY_POINT = "dpap_bench.methods"


@dataclass(frozen=True)
class PrunerInfo:
    """Name, source and abilities of a method.

    Parameters
    ----------
    name
        Name on the command line (``--method NAME``), in params.yaml and in records.
    summary
        One sentence, with a full stop.
    paper
        Citation with arXiv id or DOI.
    granularities
        What the method can remove; the first one is the default.
    tracks
        The tracks in which the method takes part.
    emergent
        Whether the method can choose its own density when no target density is given.
    needs_activity
        Whether the training loop calls `observe`.
    needs_gradients
        Whether the training loop calls `gradients`.
    needs_spikes
        Whether the method works on spiking networks only.
    regrows
        Whether pruned units may come back. If not, the training loop may remove them from the
        network before training ends.
    aims_at_synops
        Whether the method can meet a target in SynOps instead of a density: it selects by
        `PruneContext.select`.
    after_abstract
        Whether the method is written after the abstract of its paper, because the full text was not
        available. Its rows stay out of headlines: the best of a table, the overview of a page.
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
    aims_at_synops: bool = False
    after_abstract: bool = False
