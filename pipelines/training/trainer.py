"""The one training loop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import torch

from baselines.shared.contract import Pruner
from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from pipelines.data.augment import Augmenter
from pipelines.data.splits import TrainingData, batch_sizes
from pipelines.networks.network import Network
from pipelines.records.outcome import EpochPoint
from pipelines.records.trajectory import Tally, Trajectory
from pipelines.settings.augmentation import Augmentation
from pipelines.settings.workload import Recipe
from pipelines.training.budget import BudgetMeter
from pipelines.training.evaluation import evaluate
from pipelines.training.graph_replay import ForwardPass
from pipelines.training.live_shrink import LiveNetwork
from pipelines.training.machine import clock
from pipelines.training.schedule import RateSchedule


class DivergedError(Exception):
    """The loss is no longer a finite number."""


def require_finite(loss: float, meter: BudgetMeter) -> None:
    """Raise DivergedError unless a loss is a finite number."""
    if not math.isfinite(loss):
        raise DivergedError(f"loss is {loss} after {meter.spent} samples")


@dataclass
class Training:
    """What training leaves behind.

    Parameters
    ----------
    masks
        The last masks; empty if nothing was pruned.
    curve
        One point per epoch.
    seconds
        Wall-clock of training, evaluations left out.
    shrunk_at
        Progress at which dead units were removed.
    """

    masks: Masks = field(default_factory=Masks)
    curve: list[EpochPoint] = field(default_factory=list)
    seconds: float = 0.0
    shrunk_at: list[float] = field(default_factory=list)


def make_optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the recipe's optimizer; batch norm and beta are not decayed."""
    decayed = [p for p in network.parameters() if p.dim() > 1]
    rest = [p for p in network.parameters() if p.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate)


class Trainer:
    """Trains one network with one method until the budget is spent.

    Parameters
    ----------
    network, pruner, structure
        What is trained (dense, and up to date when `run` ends), who prunes it, and what can be
        pruned.
    data, recipe
        The workload's.
    meter
        Charged before every step.
    generator
        Orders the batches.
    chance
        Draws what augmentation changes; needed if the recipe has any.
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
        chance: torch.Generator | None = None,
    ) -> None:
        self.pruner = pruner
        self.structure = structure
        self.data = data
        self.recipe = recipe
        self.meter = meter
        self.generator = generator
        self.chance = chance
        self.live = LiveNetwork(
            network,
            structure,
            partial(make_optimizer, recipe=recipe),
            enabled=network.execution.live_shrink
            and bool(structure.groups)
            and not pruner.info.regrows,
        )
        self.forward = ForwardPass(recipe.loss)
        self.rates = RateSchedule(recipe, pruner.restarts())
        self.total = torch.zeros(())  # loss x samples in this epoch
        self.result = Training()
        self.tally = Tally(structure)

    @property
    def trajectory(self) -> Trajectory:
        """What was kept so far, and when training starts anew."""
        return Trajectory(restarts=self.rates.restarts, moments=tuple(self.tally.moments))

    def run(self) -> Training:
        """Train to the end of the budget.

        Raises
        ------
        DivergedError
            If the loss is not finite; `result` holds the epochs before.
        """
        for _ in self.epochs():
            pass
        return self.result

    def epochs(self) -> Iterator[EpochPoint]:
        """Train as `run` does, and stop after each epoch with its point of the curve."""
        self.live.network.train()
        start = clock(self.data.device)
        self._prune()  # at initialisation, for a method that wants to
        while self.meter.remaining:
            loss = self._epoch()
            self.result.seconds += clock(self.data.device) - start
            self._note(loss)
            yield self.result.curve[-1]
            start = clock(self.data.device)
        self.live.sync()
        self.result.masks, self.result.shrunk_at = self.live.masks, self.live.shrunk_at

    def _epoch(self) -> float:
        """One pass over the training split, or what remains of the budget; the mean loss."""
        train, device = self.data.train, self.data.device
        order = torch.randperm(len(train), generator=self.generator).to(device)
        augmenter = self._augmenter()
        self.total, done = torch.zeros((), device=device), 0
        while left := min(len(order) - done, self.meter.remaining):
            cuts = order[done : done + left].split(batch_sizes(left, self.recipe.batch_size))
            for inputs, labels in train.batches(cuts, augmenter):
                self._step(inputs, labels)
                done, left = done + len(labels), left - len(labels)
                if self.meter.remaining < left:  # a probe spent of it too: cut the rest anew
                    break
        loss = self.total.item() / done
        require_finite(loss, self.meter)
        return loss

    def _augmenter(self) -> Augmenter | None:
        """Draw what changes in this epoch, the same for every method."""
        asked = self.recipe.augmentation
        if asked == Augmentation():
            return None
        if self.chance is None:
            raise ValueError("a recipe with augmentation needs a generator that draws it")
        return Augmenter.of_epoch(asked, len(self.data.train), self.chance, self.data.device)

    def _step(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        """One batch forward, backward, step, masks."""
        self.meter.charge(len(labels), "training")
        rate, live = self.rates.rate(self.meter.progress), self.live
        for group in live.optimizer.param_groups:
            group["lr"] = rate
        loss, activity = self.forward(live.network, inputs, labels)
        if self.pruner.info.needs_activity:
            self.pruner.observe(live.activity(activity))
        self.total += loss.detach() * len(labels)
        if loss.device.type == "cpu":  # elsewhere a look at it would wait for the device
            require_finite(loss.item(), self.meter)
        live.backward(loss, self._penalty())
        if self.pruner.info.needs_gradients:
            live.sync()
            live.spread_gradients()
            self.pruner.gradients()
        live.optimizer.step()
        self._prune()

    def _prune(self) -> None:
        """Enforce the masks, new ones or old; let training start anew where the method says so."""
        # What is sampled before the first step is no time in which a twin could train.
        asked_at = self.meter.progress if self.meter.phases["training"] else 0.0
        masks = self._masks()
        if masks is not None:
            self.tally.add(masks, asked_at)
        self.live.prune(masks, self.meter.progress)
        if self.rates.restart(self.meter.progress):
            self.live.optimizer.state.clear()

    def _masks(self) -> Masks | None:
        """Ask the method for new masks, if it has any, with dense weights that are up to date."""
        if not self.pruner.due(self.meter.progress):
            return None
        require_finite(self.total.item(), self.meter)  # no method is asked about broken weights
        self.live.sync()
        masks = self.pruner.masks(self.meter.progress)
        self.live.load()
        return masks

    def _penalty(self) -> torch.Tensor | None:
        """Ask the method for its penalty, on dense weights that are up to date."""
        if type(self.pruner).penalty is Pruner.penalty:
            return None
        self.live.sync()
        return self.pruner.penalty()

    def _note(self, loss: float) -> None:
        """Add a point to the curve."""
        live = self.live
        validation = evaluate(live.network, self.data.validation, self.recipe.loss)
        require_finite(validation.loss, self.meter)  # the last step may have broken the weights
        rates = validation.activity.firing_rates()
        share = dict(zip(rates, live.extent.shares, strict=True))  # removed units are silent
        self.result.curve.append(
            EpochPoint(
                samples=self.meter.spent,
                train_loss=loss,
                validation_accuracy=validation.accuracy,
                validation_loss=validation.loss,
                density=self.structure.density(live.masks),
                firing_rate=sum(rates[name] * share[name] for name in rates) / len(rates),
                learning_rate=self.rates.rate(self.meter.progress),
                seconds=self.result.seconds,
            )
        )
