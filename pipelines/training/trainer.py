"""The training loop, the same for every method."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from baselines.shared.contract import Pruner
from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from pipelines.data.augment import Augmenter
from pipelines.data.splits import TrainingData, batch_sizes
from pipelines.networks.network import Network
from pipelines.records.outcome import EpochPoint
from pipelines.records.trajectory import Trajectory, TrajectoryRecorder
from pipelines.settings.augmentation import Augmentation
from pipelines.settings.workload import Recipe
from pipelines.training.budget import BudgetMeter
from pipelines.training.evaluation import evaluate
from pipelines.training.graph_replay import ForwardPass
from pipelines.training.guard import charged
from pipelines.training.live_shrink import LiveNetwork
from pipelines.training.machine import clock
from pipelines.training.schedule import RateSchedule


class DivergedError(Exception):
    """The loss is not a finite number."""


def require_finite(loss: float, meter: BudgetMeter) -> None:
    """Check a loss.

    Raises
    ------
    DivergedError
        If it is not a finite number.
    """
    if not math.isfinite(loss):
        raise DivergedError(f"loss is {loss} after {meter.spent} samples")


@dataclass
class Training:
    """Result of training.

    Parameters
    ----------
    masks
        The last masks; empty if nothing was pruned.
    curve
        One point per epoch.
    seconds
        Wall-clock time of training without evaluations, in s.
    shrunk_at
        Progress values at which live shrink removed dead units.
    interruptions
        How often the run was interrupted and went on.
    """

    masks: Masks = field(default_factory=Masks)
    curve: list[EpochPoint] = field(default_factory=list)
    seconds: float = 0.0
    shrunk_at: list[float] = field(default_factory=list)
    interruptions: int = 0


def make_optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the recipe's optimizer, without weight decay for biases, batch norm and beta."""
    decayed = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate)


class Trainer:
    """Trains one network with one method until the budget is spent.

    Parameters
    ----------
    network
        The dense network. It holds the trained weights when `run` ends.
    pruner
        The method that prunes it.
    structure
        The prunable layers and unit groups.
    data, recipe
        Training data and recipe of the workload.
    meter
        The budget, charged before every step.
    generator
        Source of the random order of the samples.
    augmentation_generator
        Source of the random changes of the samples; needed if the recipe has an augmentation.
    restarts
        Progress values at which training restarts; None: ask the method.

    Attributes
    ----------
    live
        The network in training, which live shrink makes smaller.
    result
        Result of the training so far.
    on_masks
        Called with the progress when the method has given new masks and before they are applied.
        The parameters of the dense network are up to date; the function must not change them.
    before_step
        Called before each training step. `state_dict` may be called there, and nowhere else.
    """

    def __init__(
        self,
        network: Network,
        pruner: Pruner,
        structure: Structure,
        data: TrainingData,
        recipe: Recipe,
        meter: BudgetMeter,
        generator: torch.Generator,
        augmentation_generator: torch.Generator | None = None,
        restarts: tuple[float, ...] | None = None,
    ) -> None:
        self.pruner = pruner
        self.structure = structure
        self.data = data
        self.recipe = recipe
        self.meter = meter
        self.generator = generator
        self.augmentation_generator = augmentation_generator
        self.live = LiveNetwork(
            network,
            structure,
            partial(make_optimizer, recipe=recipe),
            enabled=network.execution.live_shrink
            and network.shrinks
            and bool(structure.groups)
            and not pruner.info.regrows,
        )
        self.forward = ForwardPass(recipe.loss)
        self.rates = RateSchedule(recipe, pruner.restarts() if restarts is None else restarts)
        self.total = torch.zeros(())  # sum of the losses of all samples in this epoch
        self.result = Training()
        self.recorder = TrajectoryRecorder(structure)
        self.on_masks: Callable[[float], None] | None = None
        self.before_step: Callable[[], None] | None = None
        self.since = 0.0  # when the clock was started
        self.begun = False
        self.done = 0  # samples of this epoch so far
        self.drawn_from: list[Tensor] = []  # states of the generators before this epoch

    @property
    def trajectory(self) -> Trajectory:
        """The restarts, and the changes of the masks so far."""
        return Trajectory(restarts=self.rates.restarts, moments=tuple(self.recorder.moments))

    def run(self) -> Training:
        """Train to the end of the budget.

        Raises
        ------
        DivergedError
            If the loss is not finite. `result` then holds the epochs before.
        BudgetExceededError
            If the method asks for more samples than remain.
        """
        for _ in self.epochs():
            pass
        return self.result

    def epochs(self) -> Iterator[EpochPoint]:
        """Train as `run` does; yield the point of the curve after each epoch."""
        self.live.network.train()
        self.start_clock()
        if not self.begun:
            self._prune()  # some methods prune at initialisation
            self.begun = True
        while self.meter.remaining:
            loss = self._epoch()
            self.stop_clock()
            self._add_point(loss)
            yield self.result.curve[-1]
            self.start_clock()
        self.live.sync()
        self.result.masks, self.result.shrunk_at = self.live.masks, self.live.shrunk_at

    def start_clock(self) -> None:
        """Start the clock that measures the time of training."""
        self.since = clock(self.data.device)

    def stop_clock(self) -> None:
        """Add the time since the clock was started."""
        self.result.seconds += clock(self.data.device) - self.since

    def state_dict(self) -> dict[str, Any]:
        """Return the state between two steps, without that of the method and the budget."""
        return {
            "live": self.live.state_dict(),
            "total": self.total,
            "done": self.done,
            "drawn_from": self.drawn_from,
            "restarts": self.rates.restarts,
            "span": (self.rates.start, self.rates.done),
            "numbers": self.recorder.now,
            "moments": self.recorder.moments,
            "curve": self.result.curve,
            "seconds": self.result.seconds,
            "interruptions": self.result.interruptions,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; `epochs` then goes on from there."""
        self.live.load_state_dict(state["live"])
        self.begun = True
        self.total, self.done = state["total"], state["done"]
        for generator, drawn_from in zip(self._generators, state["drawn_from"], strict=True):
            generator.set_state(drawn_from)
        self.rates.start, self.rates.done = state["span"]
        self.recorder.now, self.recorder.moments = state["numbers"], state["moments"]
        self.result.curve, self.result.seconds = state["curve"], state["seconds"]
        self.result.interruptions = state["interruptions"] + 1

    @property
    def _generators(self) -> list[torch.Generator]:
        both = (self.generator, self.augmentation_generator)
        return [generator for generator in both if generator is not None]

    def _epoch(self) -> float:
        """Train for one pass over the training split, or for the rest of the budget.

        After an interruption, the rest of a pass: its random numbers are drawn again.

        Returns
        -------
        float
            The mean loss.
        """
        train, device = self.data.train, self.data.device
        self.drawn_from = [generator.get_state() for generator in self._generators]
        order = torch.randperm(len(train), generator=self.generator).to(device)
        augmenter = self._augmenter()
        if not self.done:
            self.total = torch.zeros((), device=device)
        while left := min(len(order) - self.done, self.meter.remaining):
            rest = order[self.done : self.done + left]
            cuts = rest.split(batch_sizes(left, self.recipe.batch_size))
            for inputs, labels in train.batches(cuts, augmenter):
                if self.before_step is not None:
                    self.before_step()
                self._step(inputs, labels)
                self.done, left = self.done + len(labels), left - len(labels)
                if self.meter.remaining < left:  # saliency used samples too: cut new batches
                    break
        loss, self.done = self.total.item() / self.done, 0
        require_finite(loss, self.meter)
        return loss

    def _augmenter(self) -> Augmenter | None:
        """Draw the augmentation of this epoch, which is the same for every method."""
        augmentation, generator = self.recipe.augmentation, self.augmentation_generator
        if augmentation == Augmentation():
            return None
        if generator is None:
            raise ValueError("a recipe with augmentation needs an augmentation_generator")
        return Augmenter.of_epoch(augmentation, len(self.data.train), generator, self.data.device)

    def _step(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Train on one batch: forward pass, backward pass, optimizer step, masks."""
        self.meter.charge(len(labels), "training")
        rate, live = self.rates.rate(self.meter.progress), self.live
        for group in live.optimizer.param_groups:
            group["lr"] = rate
        loss, activity = self.forward(live.network, inputs, labels)
        if self.pruner.info.needs_activity:
            with self._guard():
                self.pruner.observe(live.activity(activity))
        self.total += loss.detach() * len(labels)
        if loss.device.type == "cpu":  # on a GPU, reading the loss would wait for the device
            require_finite(loss.item(), self.meter)
        live.backward(loss, self._penalty())
        if self.pruner.info.needs_gradients:
            live.sync()
            live.spread_gradients()
            with self._guard():
                self.pruner.gradients()
        live.optimizer.step()
        self._prune()

    def _prune(self) -> None:
        """Enforce the masks, new or old; restart the optimizer where the method asks for it."""
        # Masks before the first training step count as masks at progress 0, although saliency may
        # have used samples: a shuffled control uses none, and must prune at the same time.
        asked_at = self.meter.progress if self.meter.phases["training"] else 0.0
        masks = self._masks()
        if masks is not None:
            masks.require_boolean()
            self.recorder.add(masks, asked_at)
        self.live.prune(masks, self.meter.progress)
        if self.rates.restart(self.meter.progress):
            self.live.optimizer.state.clear()

    def _masks(self) -> Masks | None:
        """Ask the method for new masks, after an update of the dense weights that it reads."""
        if not self.pruner.due(self.meter.progress):
            return None
        require_finite(self.total.item(), self.meter)  # masks of NaN weights mean nothing
        self.live.sync()
        with self._guard():
            masks = self.pruner.masks(self.meter.progress)
        if masks is not None and self.on_masks is not None:
            self.on_masks(self.meter.progress)
        self.live.load()
        return masks

    def _penalty(self) -> torch.Tensor | None:
        """Ask the method for its penalty, after an update of the dense weights that it reads."""
        if type(self.pruner).penalty is Pruner.penalty:
            return None
        self.live.sync()
        with self._guard():
            return self.pruner.penalty()

    def _guard(self) -> AbstractContextManager[None]:
        return charged(self.live.full, self.meter)

    def _add_point(self, loss: float) -> None:
        """Add a point to the curve: evaluate the network on the validation split."""
        live = self.live
        validation = evaluate(live.network, self.data.validation, self.recipe.loss)
        require_finite(validation.loss, self.meter)  # the last step may have made weights NaN
        rates = validation.activity.firing_rates()
        # Units that live shrink removed are silent, but count in the dense network.
        share = live.extent.shares
        self.result.curve.append(
            EpochPoint(
                samples=self.meter.spent,
                train_loss=_rounded(loss),
                validation_accuracy=validation.accuracy,
                validation_loss=_rounded(validation.loss),
                density=_rounded(self.structure.density(live.masks)),
                firing_rate=_rounded(sum(rates[n] * share.get(n, 1.0) for n in rates) / len(rates)),
                learning_rate=_rounded(self.rates.rate(self.meter.progress)),
                seconds=self.result.seconds,
            )
        )


def _rounded(value: float) -> float:
    """Round to seven significant digits, so that the curve of a record takes little space."""
    return float(f"{value:.7g}")
