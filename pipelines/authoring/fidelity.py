"""Fidelity: whether a method does in a run what its name and its paper say."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from baselines.shared.contract import Activity, PruneContext, Pruner, Quantity
from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from baselines.shared.selection import Selected, watch_selections
from pipelines.data import load_training
from pipelines.data.events import binning_of
from pipelines.methods.admission import check
from pipelines.networks.initial import build_network, build_structure, stream
from pipelines.settings.spec import RunSpec
from pipelines.training.budget import BudgetMeter
from pipelines.training.probe import NetworkProbe
from pipelines.training.schedule import learning_rate
from pipelines.training.trainer import Trainer

#: Training samples on which the loss is measured.
SAMPLES = 256
#: Single weights of a layer are removed in this many parts, from the lowest scores to the highest.
PARTS = 10


@dataclass(frozen=True)
class Findings:
    """What was measured in one run of a method.

    Parameters
    ----------
    quantities
        Figures of the method itself, `Pruner.fidelity`.
    correlation
        Spearman correlation of the scores with the increase of the training loss when a unit, or a
        tenth of the weights of a layer, is removed; mean over groups and layers, at the selection
        that prunes past the half of what the run prunes. None: no such selection.
    early
        Share of the pruned weights that were pruned, or that the method had set to zero, before
        the last masks; in [0, 1].
    removed
        Norm of the other pruned weights, which the last masks remove, relative to that of all
        weights before; in [0, 1].
    regrown
        Share of the finally kept weights that were zero or pruned before, in [0, 1].
    """

    quantities: tuple[Quantity, ...]
    correlation: float | None
    early: float
    removed: float
    regrown: float


@dataclass(frozen=True)
class _Snapshot:
    """A selection, and all parameters of the network before it; pruned weights are zero."""

    selected: Selected
    parameters: Mapping[str, Tensor]


@dataclass
class _Watched(Pruner):
    """Passes all calls on to a method, and records selections and zero weights.

    Parameters
    ----------
    method
        The method.

    Attributes
    ----------
    chosen
        The selection past the half of what is pruned, as soon as its masks are in force.
    weights
        Weights of the prunable layers when the last masks were returned, before they applied.
    kept, before
        The last masks of these weights, and the masks before them.
    absent
        Weights that were zero or pruned before.
    """

    method: Pruner
    chosen: _Snapshot | None = field(default=None, init=False)
    weights: dict[str, Tensor] = field(default_factory=dict, init=False)
    kept: dict[str, Tensor] = field(default_factory=dict, init=False)
    before: dict[str, Tensor] = field(default_factory=dict, init=False)
    absent: dict[str, Tensor] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.info = self.method.info  # type: ignore[misc]
        self._seen: list[_Snapshot] = []

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        super().begin(network, context)
        self.method.begin(network, context)

    def restarts(self) -> tuple[float, ...]:
        return self.method.restarts()

    def observe(self, activity: Activity) -> None:
        self.method.observe(activity)

    def penalty(self) -> Tensor | None:
        return self.method.penalty()

    def gradients(self) -> None:
        self.method.gradients()

    def due(self, progress: float) -> bool:
        return self.method.due(progress)

    def masks(self, progress: float) -> Masks | None:
        before = {n: p.detach().clone() for n, p in self.network.named_parameters()}
        for name, kept in self.kept.items():  # the last step moved pruned weights; zero them again
            before[f"{name}.weight"] *= kept
        with watch_selections(lambda found: self._seen.append(_Snapshot(found, before))):
            masks = self.method.masks(progress)
        now = {n: w.detach().clone() for n, w in self.layer_weights().items()}
        for name, weight in now.items():
            self.absent[name] = self.absent.get(name, torch.tensor(False)) | (weight == 0)
        if masks is not None:
            self._apply(masks, now)
        return masks

    def _apply(self, masks: Masks, weights: dict[str, Tensor]) -> None:
        structure, target = self.context.structure, self.context.density or 0.0
        self.weights, self.before = weights, dict(self.kept)
        for layer in structure.layers:
            everything = torch.ones(layer.shape, dtype=torch.bool)
            self.kept[layer.name] = masks.parameters.get(layer.weight, everything)
            self.absent[layer.name] = self.absent[layer.name] | ~self.kept[layer.name]
        if self.chosen is None and structure.density(masks) <= (1 + target) / 2:
            # A method may return an earlier selection, or add time steps to it.
            made = [s for s in self._seen if s.selected.masks.parameters is masks.parameters]
            self.chosen = made[-1] if made else None
        if self.chosen is not None:
            self._seen.clear()


def fidelity(spec: RunSpec, data_root: Path) -> Findings:
    """Train one cell, and measure what its method did. The test split is not used.

    Parameters
    ----------
    spec
        The cell; from scratch.
    data_root
        Folder of fetched data sets.

    Raises
    ------
    InputError
        If the method cannot run the cell.
    DivergedError
        If the loss is not finite.
    """
    method, asked = check(spec), spec.settings
    torch.set_num_threads(spec.threads)
    data = load_training(
        asked.data, data_root, binning_of(asked), asked.normalization, asked.recipe.augmentation
    )
    network = build_network(
        asked.network, data.input_shape, data.classes, spec.seed, asked.execution
    )
    structure = build_structure(network, spec.granularity)
    meter = BudgetMeter(asked.budget(len(data.train)))

    def probe(size: int, counted: BudgetMeter, name: str) -> NetworkProbe:
        draw, loss = stream(spec.seed, name), spec.recipe.loss
        return NetworkProbe(network, data.train, size, counted, draw, loss)

    watched = _Watched(method)
    context = PruneContext(
        structure,
        spec.granularity,
        spec.target,
        stream(spec.seed, f"method:{spec.method}"),
        network.steps,
        probe(spec.recipe.batch_size, meter, "saliency"),
        partial(learning_rate, spec.recipe),
    )
    watched.begin(network, context)
    streams = stream(spec.seed, "batches"), stream(spec.seed, "augmentation")
    Trainer(network, watched, structure, data, spec.recipe, meter, *streams).run()
    measuring = probe(SAMPLES, BudgetMeter(sys.maxsize), "fidelity")  # not charged to the run
    chosen = watched.chosen
    return Findings(
        method.fidelity(),
        None if chosen is None else _correlation(chosen, structure, measuring),
        **_of_weights(watched),
    )


def _of_weights(watched: _Watched) -> dict[str, float]:
    """Figures of the last masks: `early`, `removed` and `regrown` of `Findings`."""
    names = list(watched.kept)
    if not names:
        return {"early": 0.0, "removed": 0.0, "regrown": 0.0}
    weights = torch.cat([watched.weights[name].flatten() for name in names])
    kept = torch.cat([watched.kept[name].flatten() for name in names])
    first = torch.cat([watched.absent[name].flatten() for name in names])
    if watched.before:
        weights = weights * torch.cat([watched.before[name].flatten() for name in names])
    pruned = max(1, int((~kept).sum()))
    return {
        "early": int((weights[~kept] == 0).sum()) / pruned,
        "removed": float(weights[~kept].norm() / weights.norm().clamp_min(1e-30)),
        "regrown": int((first & kept).sum()) / max(1, int(kept.sum())),
    }


@torch.no_grad()
def _correlation(chosen: _Snapshot, structure: Structure, probe: NetworkProbe) -> float | None:
    """Mean correlation of scores with the increase of the loss, over groups and layers."""
    ((inputs, labels),) = probe.batches(SAMPLES)

    def loss(masks: Masks) -> float:
        masked = {n: chosen.parameters[n] * kept for n, kept in masks.parameters.items()}
        return float(probe.loss(inputs, labels, parameters={**chosen.parameters, **masked}))

    found = []
    for parts in (*_units(chosen, structure), *_tenths(chosen)):
        ranks = [rank for rank, _ in parts]
        losses = [loss(masks) for _, masks in parts]
        if len(set(ranks)) > 2 and len(set(losses)) > 1:
            found.append(float(spearmanr(ranks, losses).statistic))
    return fmean(found) if found else None


def _units(chosen: _Snapshot, structure: Structure) -> Iterator[list[tuple[float, Masks]]]:
    """For each group: the score of each unit that is left, and masks that remove this unit."""
    everything = {g.name: torch.ones(g.size, dtype=torch.bool) for g in structure.groups}
    for name, scores in chosen.selected.units.items():
        parts = []
        for unit in scores.cpu().isfinite().nonzero().flatten().tolist():
            without = everything[name].clone()
            without[unit] = False
            parts.append((float(scores[unit]), structure.masks({**everything, name: without})))
        yield parts


def _tenths(chosen: _Snapshot) -> Iterator[list[tuple[float, Masks]]]:
    """For each layer: ranks of the parts of the weights that are left, and masks without them."""
    for name, scores in chosen.selected.weights.items():
        shape = scores.shape
        there = scores.detach().cpu().isfinite() & (chosen.parameters[f"{name}.weight"] != 0).cpu()
        places = there.flatten().nonzero().flatten()
        order = places[scores.detach().cpu().flatten()[places].argsort(stable=True)]
        parts = []
        for rank, part in enumerate(order.tensor_split(PARTS)):
            kept = torch.ones(shape.numel(), dtype=torch.bool)
            kept[part] = False
            parts.append((float(rank), Masks({f"{name}.weight": kept.view(shape)})))
        yield parts
