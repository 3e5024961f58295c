"""Costs by other conventions, from what records hold; docs/costs.md defines each of them.

A static input is shown T times, and the loop charges its layer T times. Many papers charge it once,
because a device could keep the first layer's current. Artificial networks are often charged all
MACs of their layers, zeros included. And single weights that are zero save memory only if an index
says where the others are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from pipelines.data.catalogue import SOURCES
from pipelines.records.outcome import PICOJOULE_AC, PICOJOULE_MAC, LayerCost
from pipelines.records.record import RunRecord
from pipelines.settings.network import READOUT
from pipelines.settings.weight_shapes import weight_shapes

#: Bytes of one value in float32.
VALUE_BYTES = 4
#: From kept weights, outputs and inputs of a layer to the bits of its index.
Index = Callable[[int, int, int], int]


def _layers(record: RunRecord) -> dict[str, LayerCost] | None:
    """Layers of a run; None if it has no outcome, or the record leaves them out."""
    if record.outcome is None or not record.outcome.cost.layers:
        return None
    return record.outcome.cost.layers


def _charged(record: RunRecord, layers: dict[str, LayerCost]) -> Iterator[tuple[LayerCost, int]]:
    """Yield each layer, and how often the loop charges one computation: T if its input is static.

    Each call of a layer of a factory's network is charged as it comes.
    """
    settings, repeats = record.spec.settings, 1
    if settings.frames is None and settings.network.kind != "ann" and not settings.network.factory:
        repeats = settings.network.time_steps
    for layer in layers.values():
        yield layer, repeats
        repeats = 1


def _analogue(record: RunRecord, layer: LayerCost) -> bool:
    """Whether the operations of a layer are MACs; a layer without any is of the network's kind."""
    if layer.effective_macs or layer.effective_acs:
        return layer.effective_macs > 0
    return record.spec.settings.network.kind == "ann"


def flops_static_once(record: RunRecord) -> float | None:
    """FLOPs with a static first layer computed once."""
    layers = _layers(record)
    if layers is None:
        return None
    return 2 * sum(x.dense_operations / repeats for x, repeats in _charged(record, layers))


def effective_macs_static_once(record: RunRecord) -> float | None:
    """Effective MACs with a static first layer computed once."""
    layers = _layers(record)
    if layers is None:
        return None
    return sum(x.effective_macs / repeats for x, repeats in _charged(record, layers))


def synops_static_once(record: RunRecord) -> float | None:
    """SynOps with a static first layer computed once; binary pixels are counted as spikes."""
    layers = _layers(record)
    if layers is None:
        return None
    return sum(x.effective_acs / repeats for x, repeats in _charged(record, layers))


def energy_static_once(record: RunRecord) -> float | None:
    """Energy proxy in nJ with a static first layer computed once."""
    macs, acs = effective_macs_static_once(record), synops_static_once(record)
    return None if macs is None or acs is None else _nanojoule(macs, acs)


def dense_macs(record: RunRecord) -> float | None:
    """Operations of the layers with analogue input, zeros included, a static layer at each step."""
    layers = _layers(record)
    if layers is None:
        return None
    return sum(x.dense_operations for x in layers.values() if _analogue(record, x))


def energy_dense_macs(record: RunRecord) -> float | None:
    """Energy proxy in nJ with dense MACs, a static first layer once, and effective ACs."""
    layers, acs = _layers(record), synops_static_once(record)
    if layers is None or acs is None:
        return None
    macs = sum(
        x.dense_operations / repeats
        for x, repeats in _charged(record, layers)
        if _analogue(record, x)
    )
    return _nanojoule(macs, acs)


def _nanojoule(macs: float, acs: float) -> float:
    return (PICOJOULE_MAC * macs + PICOJOULE_AC * acs) / 1000


def storage_bitmap(record: RunRecord) -> float | None:
    """Bytes of all parameters, and one bit per weight of each layer that has masked weights."""
    return _storage(record, lambda kept, outputs, inputs: outputs * inputs)


def storage_csr(record: RunRecord) -> float | None:
    """Bytes of all parameters, and of the CSR index of each layer that has masked weights."""

    def index(kept: int, outputs: int, inputs: int) -> int:
        # The place of each weight in its row, and where each row begins and the last one ends.
        return kept * _bits(inputs) + (outputs + 1) * _bits(kept + 1)

    return _storage(record, index)


def _bits(values: int) -> int:
    """Bits that tell so many values apart."""
    return math.ceil(math.log2(values)) if values > 1 else 0


def _storage(record: RunRecord, index_bits: Index) -> float | None:
    cost = record.outcome.cost if record.outcome else None
    sizes = _sizes(record)
    if cost is None or sizes is None:
        return None
    bits = sum(
        index_bits(kept, outputs, inputs)
        for kept, outputs, inputs in sizes
        if kept < outputs * inputs
    )
    return VALUE_BYTES * cost.parameters + math.ceil(bits / 8)


def _sizes(record: RunRecord) -> list[tuple[int, int, int]] | None:
    """Kept weights, outputs and inputs of each prunable layer after physical removal."""
    layers, source = _layers(record), SOURCES.get(record.spec.settings.data)
    if record.outcome is None or layers is None or source is None:
        return None
    try:
        shape, classes = source.size.shape, source.size.classes
        whole = weight_shapes(record.spec.settings.network.layout, shape, classes)
        left = weight_shapes(record.outcome.layout, shape, classes)
    except ValueError:  # the record of somebody else may say anything
        return None
    names = [name for name in layers if name != READOUT]
    if not all(name in whole and name in left and 0 <= layers[name].density <= 1 for name in names):
        return None
    return [(_kept(layers[name], whole[name]), *left[name]) for name in names]


def _kept(layer: LayerCost, shape: tuple[int, int]) -> int:
    return round(layer.density * math.prod(shape))
