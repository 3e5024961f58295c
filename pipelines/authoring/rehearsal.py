"""Rehearsals: train a tiny network on the digits with a method, and record what the method does."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from baselines.shared.contract import Granularity, PruneContext, Pruner, SynopsTarget
from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from pipelines.authoring.mask_rules import ContractError, require_fit
from pipelines.data.splits import TrainingData
from pipelines.networks.initial import build_network, build_structure, stream
from pipelines.networks.network import Network
from pipelines.records.stored_values import Packed, StateError
from pipelines.settings.network import NetworkSpec
from pipelines.settings.spec import SYNOPS
from pipelines.settings.workload import Recipe
from pipelines.training.budget import BudgetExceededError, BudgetMeter
from pipelines.training.probe import NetworkProbe
from pipelines.training.resume import begin_again, go_on, state_of
from pipelines.training.schedule import learning_rate
from pipelines.training.synops_meter import SynopsMeter
from pipelines.training.trainer import Trainer

Kind = Literal["snn", "ann", "residual snn"]
#: Target density; or ``synops``: the target is a number of SynOps. None: the method finds its own.
Target = float | Literal["synops"] | None
#: Target SynOps of a rehearsal, as a share of those of the initial network.
SYNOPS_SHARE = 0.5
#: Layouts of the tiny networks. The residual one has a block with an identity shortcut, and one
#: with a projection shortcut.
_LAYOUT = "6C3-MP2-8C3-MP2-12FC"
_RESIDUAL = "6C3s2-[5C3-6C3]-[6C3s2-8C3]-12FC"
_NETWORKS = {
    "snn": NetworkSpec(kind="snn", layout=_LAYOUT, time_steps=4),
    "ann": NetworkSpec(kind="ann", layout=_LAYOUT),
    "residual snn": NetworkSpec(kind="snn", layout=_RESIDUAL, time_steps=4),
}
_RECIPE = Recipe(epochs=1, batch_size=64, optimizer="adamw", learning_rate=0.004, warmup=0.1)


@dataclass
class Rehearsal:
    """A record of what a method did in one rehearsal.

    Parameters
    ----------
    kind
        Kind of the network.
    granularity
        What the method was asked to remove.
    target
        As for `rehearse`.
    structure
        Prunable layers and unit groups of the network.
    meter
        The budget and what was spent of it.
    masks
        All masks that the method returned, in order.
    uncharged
        Number of samples that the method passed through its network without the probe.
    drew
        Global random generators from which numbers were drawn: ``torch``, ``random``, ``numpy``.
    weights
        Parameters and buffers of the dense network at the end.
    state
        State of the run before the step that was asked for.
    """

    kind: Kind
    granularity: Granularity
    target: Target
    structure: Structure
    meter: BudgetMeter
    masks: list[Masks] = field(default_factory=list)
    uncharged: int = 0
    drew: tuple[str, ...] = ()
    weights: dict[str, Tensor] = field(default_factory=dict)
    state: Packed | None = None

    @property
    def density(self) -> float:
        """Density under the last masks, in (0, 1]."""
        return self.structure.density(self.masks[-1] if self.masks else Masks())

    def count(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Forward pre-hook: count the samples of a pass that the method made by itself."""
        self.uncharged += inputs[0].shape[-4]


class _WatchedTrainer(Trainer):
    """The training loop of the harness; it records the masks, and stops if they do not fit."""

    rehearsal: Rehearsal
    steps = 0

    def store_at(self, step: int | None) -> None:
        """Store the state of the run once, before a step."""
        if self.steps == step:
            try:
                self.rehearsal.state = state_of(self).copy()
            except StateError as error:
                raise ContractError(str(error)) from error
        self.steps += 1

    def _masks(self) -> Masks | None:
        masks = super()._masks()
        if masks is not None:
            require_fit(masks, self.live.full, self.structure)
            self.rehearsal.masks.append(masks)
        return masks


def rehearse(
    method: type[Pruner],
    options: dict[str, Any],
    granularity: Granularity,
    kind: Kind,
    target: Target,
    data: TrainingData,
    *,
    epochs: int = 2,
    noise: int = 0,
    store_at: int | None = None,
    state: Packed | None = None,
) -> Rehearsal:
    """Train a tiny network with a method.

    Parameters
    ----------
    method, options
        The method and its hyper-parameters.
    granularity
        What to remove.
    kind
        Kind of the network.
    target
        Target density; ``synops``: a share of the SynOps of the initial network; None: the method
        finds its own density.
    data
        Training data of the digits.
    epochs
        Budget in epochs.
    noise
        Seed of the global random generators, on which results must not depend.
    store_at
        Number of the step before which the state of the run is stored; None: it is not.
    state
        State of an earlier rehearsal, from which this one goes on.

    Returns
    -------
    Rehearsal
        A record of what the method did.

    Raises
    ------
    ContractError
        If the method raises an error, overspends the budget, or returns masks that do not fit.
    """
    torch.set_num_threads(1)  # for so small a network, several threads would be slower
    network = build_network(_NETWORKS[kind], data.input_shape, data.classes, seed=0)
    meter = BudgetMeter(epochs * len(data.train))
    structure = build_structure(network, granularity)
    rehearsal = Rehearsal(kind, granularity, target, structure, meter)
    with _noise(noise) as drew:
        try:
            _train(method(**options), network, data, rehearsal, store_at, state)
        except ContractError:
            raise
        except BudgetExceededError as error:
            raise ContractError(
                f"the method spends more than the budget: {error}; ask the probe for fewer "
                "samples, or less often."
            ) from error
        except Exception as error:  # a method may raise anything
            raise ContractError(
                f"the method raises {_where(method, error)}; correct this line."
            ) from error
    rehearsal.drew = tuple(drew)
    return rehearsal


def _train(
    pruner: Pruner,
    network: Network,
    data: TrainingData,
    rehearsal: Rehearsal,
    store_at: int | None,
    state: Packed | None,
) -> None:
    """Run the training loop, as `pipelines.training.cell` does, and fill in the rehearsal."""
    meter, generator = rehearsal.meter, stream(0, "saliency")
    target, synops = rehearsal.target, None
    if target == SYNOPS:
        measure = SynopsMeter(network, data.validation)
        target, synops = None, SynopsTarget(SYNOPS_SHARE * measure(Masks()), measure)
    network.register_forward_pre_hook(rehearsal.count)  # not on the copy that `measure` has made
    context = PruneContext(
        rehearsal.structure,
        rehearsal.granularity,
        target,
        stream(0, "method"),
        network.steps,
        NetworkProbe(network, data.train, _RECIPE.batch_size, meter, generator),
        partial(learning_rate, _RECIPE),
        synops,
    )
    values = None
    if state is None:
        _begin(pruner, network, context)
    else:
        values = begin_again(pruner, network, context, state)
    trainer = _WatchedTrainer(
        network,
        pruner,
        rehearsal.structure,
        data,
        _RECIPE,
        meter,
        stream(0, "batches"),
        restarts=None if values is None else values["trainer"]["restarts"],
    )
    if values is not None:
        go_on(trainer, values)
    trainer.rehearsal = rehearsal
    trainer.before_step = partial(trainer.store_at, store_at)
    trainer.run()
    rehearsal.weights = network.state_dict()


def _begin(pruner: Pruner, network: Network, context: PruneContext) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pruner.begin(network, context)
    for name, value in network.state_dict().items():
        if not torch.equal(value, before[name]):
            raise ContractError(f"begin() changes '{name}': change the network in masks() only.")


@contextmanager
def _noise(seed: int) -> Iterator[list[str]]:
    """Seed the global random generators; on exit, fill the list with those that were drawn from."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    drew: list[str] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        start = (torch.get_rng_state(), random.getstate(), str(np.random.get_state()))
        try:
            yield drew
        finally:
            if not torch.equal(torch.get_rng_state(), start[0]):
                drew.append("torch")
            if random.getstate() != start[1]:
                drew.append("random")
            if str(np.random.get_state()) != start[2]:
                drew.append("numpy")
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _where(method: type[Pruner], error: Exception) -> str:
    """Describe an error, with the last line of the method's own file that led to it, if any."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).stem == method.__module__.rpartition(".")[2]]
    place = (own or frames)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}"
