"""What a method sees of one training batch: the inputs and outputs of every layer's neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

#: Positions along the units that a tensor holds, and how many there are in the dense network.
Places = tuple[Tensor, int]
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Unwritten:
    """Outputs that were pooled as they were computed: their maps were never in memory.

    Parameters
    ----------
    sums
        Over each unit's map, [T, B, units].
    maps
        Works out the maps, [T, B, units, ...map].
    """

    sums: Tensor
    maps: Callable[[], Tensor]


#: What a layer received, and what it sent.
Recorded = tuple[Tensor, Tensor | Unwritten]


def unit_activity(activity: Tensor) -> Tensor:
    """Sum a channel's map, so that a channel counts as one population.

    Parameters
    ----------
    activity
        Spikes or ReLU outputs, [T, B, N] or [T, B, C, ...map].

    Returns
    -------
    Tensor
        [T, B, N] or [T, B, C]; float32 at least, for a half-precision sum miscounts spikes.
    """
    kind = torch.promote_types(activity.dtype, torch.float32)
    return activity.to(kind) if activity.dim() == 3 else activity.flatten(3).sum(3, dtype=kind)


class Activity(Mapping[str, Pair]):
    """Layer -> (input, output) of its neurons, each [T, B, units, ...].

    A static input has T = 1. Units that were removed during training are there, and silent.

    Parameters
    ----------
    pairs
        Layer -> (input, output), as the network ran.
    places
        Layer -> where the units of both are in the dense network; None: everywhere.
    """

    def __init__(
        self,
        pairs: Mapping[str, Recorded],
        places: Mapping[str, tuple[Places | None, Places | None]] | None = None,
    ) -> None:
        self._pairs = pairs
        self._places = places or {}
        self._sums: dict[int, Tensor] = {}

    def __getitem__(self, layer: str) -> Pair:
        (pre, post), (before, behind) = self._pairs[layer], self._of(layer)
        maps = post.maps() if isinstance(post, Unwritten) else post
        return _spread(pre, before), _spread(maps, behind)

    def __contains__(self, layer: object) -> bool:
        return layer in self._pairs  # the inherited one would build the maps

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def units(self, layer: str) -> Pair:
        """Sums over each unit's map, [T, B, units]: much cheaper than the maps themselves."""
        return self.received(layer), self.sent(layer)

    def received(self, layer: str) -> Tensor:
        """Sums over the map of each unit that a layer receives, [T, B, units]."""
        return self._sum(self._pairs[layer][0], self._of(layer)[0])

    def sent(self, layer: str) -> Tensor:
        """Sums over the map of each unit of a layer, [T, B, units], before pooling."""
        return self._sum(self._pairs[layer][1], self._of(layer)[1])

    def _of(self, layer: str) -> tuple[Places | None, Places | None]:
        return self._places.get(layer, (None, None))

    def _sum(self, activity: Tensor | Unwritten, places: Places | None) -> Tensor:
        key = id(activity)  # what one layer sends may be what the next one receives
        if key not in self._sums:
            sums = activity.sums if isinstance(activity, Unwritten) else unit_activity(activity)
            self._sums[key] = _spread(sums, places)
        return self._sums[key]


def _spread(activity: Tensor, places: Places | None) -> Tensor:
    """Put units where they are in the dense network; those that were removed are silent."""
    if places is None:
        return activity
    index, units = places
    dense = activity.new_zeros(*activity.shape[:2], units, *activity.shape[3:])
    if activity.dim() == 3:  # quicker than index_copy_ along the last dimension
        return dense.scatter_(2, index.expand_as(activity), activity)
    return dense.index_copy_(2, index, activity)
