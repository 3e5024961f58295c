"""Activity of one training batch: the inputs and the neuron outputs of every layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

#: Where the units of a tensor are in the dense network: indices [units of the tensor], and the
#: number of units in the dense network.
Places = tuple[Tensor, int]
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Unwritten:
    """Outputs of a kernel that pools while it computes, so it never stores the feature maps.

    Parameters
    ----------
    sums
        Sum over the feature map of each unit before pooling, [T, B, units].
    maps
        Recomputes the feature maps before pooling, [T, B, units, ...map].
    """

    sums: Tensor
    maps: Callable[[], Tensor]


#: Input of a layer, and output of its neurons.
Recorded = tuple[Tensor, Tensor | Unwritten]


def unit_activity(activity: Tensor) -> Tensor:
    """Sum each channel over its feature map, so that a channel counts as one population.

    Parameters
    ----------
    activity
        Spikes or ReLU outputs, [T, B, N] or [T, B, C, ...map].

    Returns
    -------
    Tensor
        [T, B, N] or [T, B, C], in float32 or wider: a sum in half precision miscounts spikes.
    """
    kind = torch.promote_types(activity.dtype, torch.float32)
    return activity.to(kind) if activity.dim() == 3 else activity.flatten(3).sum(3, dtype=kind)


class Activity(Mapping[str, Pair]):
    """Layer name -> (input of the layer, output of its neurons), each [T, B, units, ...].

    A static input has T = 1. Units are indexed as in the dense network: a unit that was removed
    during training is present, with zero activity. ``activity[layer]`` may recompute feature maps
    on demand; `received`, `sent` and `units` give sums over the maps, which is much cheaper.

    Parameters
    ----------
    pairs
        Layer name -> (input, output), with the units that the network has now.
    places
        Layer name -> positions in the dense network of the (input, output) units. None in place
        of a position: all units are present.
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
        pre, post = self._pairs[layer]
        pre_places, post_places = self._places_of(layer)
        maps = post.maps() if isinstance(post, Unwritten) else post
        return _spread(pre, pre_places), _spread(maps, post_places)

    def __contains__(self, layer: object) -> bool:
        return layer in self._pairs  # the inherited method would recompute feature maps

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def units(self, layer: str) -> Pair:
        """Return `received` and `sent` of a layer."""
        return self.received(layer), self.sent(layer)

    def received(self, layer: str) -> Tensor:
        """Input of a layer, summed over the feature map of each input unit, [T, B, inputs]."""
        return self._sum(self._pairs[layer][0], self._places_of(layer)[0])

    def sent(self, layer: str) -> Tensor:
        """Output of a layer's neurons before pooling, summed over feature maps, [T, B, units]."""
        return self._sum(self._pairs[layer][1], self._places_of(layer)[1])

    def _places_of(self, layer: str) -> tuple[Places | None, Places | None]:
        return self._places.get(layer, (None, None))

    def _sum(self, activity: Tensor | Unwritten, places: Places | None) -> Tensor:
        key = id(activity)  # the output of one layer may be the input of the next
        if key not in self._sums:
            sums = activity.sums if isinstance(activity, Unwritten) else unit_activity(activity)
            self._sums[key] = _spread(sums, places)
        return self._sums[key]


def _spread(activity: Tensor, places: Places | None) -> Tensor:
    """Move units to their positions in the dense network; removed units get zeros."""
    if places is None:
        return activity
    index, units = places
    dense = activity.new_zeros(*activity.shape[:2], units, *activity.shape[3:])
    if activity.dim() == 3:  # scatter_ is faster than index_copy_ along the last dimension
        return dense.scatter_(2, index.expand_as(activity), activity)
    return dense.index_copy_(2, index, activity)
