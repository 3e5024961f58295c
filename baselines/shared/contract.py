"""The contract between a pruning method and the training loop.

A method is a dataclass whose fields are its hyper-parameters. The training loop calls

    begin      once, before the first training step
    restarts   once, after `begin`
    due        once before the first training step, then after every optimizer step
    masks      whenever `due` returns True
    observe    after every forward pass, if ``info.needs_activity``
    penalty    before every backward pass
    gradients  after every backward pass, if ``info.needs_gradients``
    state_dict, load_state_dict
               when a run is interrupted, and when it goes on; few methods override them

The training loop does everything else: it owns the optimizer, applies the masks to the weights
and to the optimizer state, counts the budget, removes pruned units and evaluates the network.

``self.network`` is the dense network. Its parameters are up to date in `begin`, `penalty`,
`gradients` and `masks`. A method may change its parameters and buffers (weights, batch norm,
beta) in `masks` only. Masked entries are set to zero afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.groups import Structure
from baselines.shared.info import Granularity, PrunerInfo, Track
from baselines.shared.masks import Masks
from baselines.shared.quantity import Quantity
from baselines.shared.schedules import cubic_density
from baselines.shared.synops_target import SynopsTarget

__all__ = [
    "Activity",
    "Granularity",
    "Probe",
    "PruneContext",
    "Pruner",
    "PrunerInfo",
    "Quantity",
    "SynopsTarget",
    "Track",
]


class Probe(Protocol):
    """Forward passes of training samples, for methods that compute saliencies.

    The probe computes on the dense network, in float32. Batch norm uses the statistics of the
    batch, as in training, because running statistics mean nothing at initialisation. Neurons are
    stepped by snnTorch, so that gradients can be differentiated once more. A probe changes
    neither weights, running statistics and optimizer state nor the order of training batches.

    Compute gradients with ``torch.autograd.grad``. ``backward`` would add to the gradients of the
    training step.

    The argument `parameters` of `loss` and `linear` replaces parameters of the network, by name,
    for one pass.
    """

    def batches(self, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw training samples at random, in batches of the recipe's size.

        All samples are charged to the budget, as phase ``saliency``, before the first batch is
        returned. The charge pays for one pass of each batch. Another pass of a batch, or of a part
        of it, is charged again.

        Parameters
        ----------
        samples
            Number of samples. No sample is drawn twice before every sample was drawn once.

        Yields
        ------
        tuple
            Inputs [B, C, H, W] or [T, B, C, H, W], and labels [B].

        Raises
        ------
        BudgetExceededError
            If fewer samples remain in the budget. The status of the run is then `over-budget`.
        """

    def loss(
        self,
        inputs: Tensor,
        labels: Tensor,
        *,
        reduction: Literal["mean", "sum", "none"] = "mean",
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Loss of a batch, with its autograd graph.

        Parameters
        ----------
        inputs, labels
            A batch from `batches`.
        reduction
            As in ``torch.nn.functional.cross_entropy``.
        parameters
            Parameter name -> value to use instead of the network's.

        Returns
        -------
        Tensor
            Scalar, or [B] if `reduction` is ``none``.
        """

    def per_example(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Gradients of each sample's own loss, one layer after another.

        Batch norm treats the statistics of the batch as constants, so that the gradient of one
        sample does not depend on the others.

        Parameters
        ----------
        inputs, labels
            A batch from `batches`.

        Yields
        ------
        tuple
            Name of a convolution or linear layer, the readout included, and the gradients of its
            weight, [B, *shape of the weight].
        """

    def linear(self, inputs: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Class scores of the network without neurons and batch norm.

        This spends no budget, so pass only inputs that the method makes itself.

        Parameters
        ----------
        inputs
            Of the shape of `example`.
        parameters
            Parameter name -> value to use instead of the network's.

        Returns
        -------
        Tensor
            [B, classes].
        """

    def example(self) -> Tensor:
        """Zeros in the shape of one static sample, [1, C, H, W]."""


def _no_rate(progress: float) -> float:
    raise ValueError(
        "this method needs a learning rate: set the field learning_rate of its PruneContext"
    )


@dataclass(frozen=True)
class PruneContext:
    """What a method may use during a run. The test split is not part of it.

    Parameters
    ----------
    structure
        The prunable layers and the unit groups of the network.
    granularity
        What to remove in this run.
    density
        Target density, kept / prunable weights, in (0, 1]. None: `synops` is the target, or the
        method finds a density of its own.
    generator
        The only source of random numbers that a method may use.
    steps
        Time steps of one sample; 1 for artificial networks.
    probe
        Forward passes of training samples for saliencies; methods use ``self.probe``.
    learning_rate
        Progress -> learning rate of the recipe, without restarts. For methods that update weights
        themselves.
    synops
        Target SynOps, for methods with ``info.aims_at_synops``; None: the target is a density.
    """

    structure: Structure
    granularity: Granularity
    density: float | None
    generator: torch.Generator
    steps: int = 1
    probe: Probe | None = None
    learning_rate: Callable[[float], float] = _no_rate
    synops: SynopsTarget | None = None

    @property
    def emergent(self) -> bool:
        """Whether the method finds a density of its own."""
        return self.density is None and self.synops is None

    def select(
        self, select: Callable[[float], Masks], progress: float, start: float, stop: float
    ) -> Masks:
        """Select at the density of the cubic schedule.

        If the target is a number of SynOps, the schedule ends at the density at which the selection
        has this number now. It is searched again and again during the run, and by the last call, at
        `stop`, which meets the target.

        Parameters
        ----------
        select
            Density in (0, 1] -> masks; it changes no state but that of `generator`.
        progress, start, stop
            As for `cubic_density`.
        """
        final = self.density
        if self.synops is not None:
            last = progress >= stop
            final = self.synops.at(progress, select, self.generator, last=last)
        assert final is not None, "an emergent run has no schedule"
        return select(cubic_density(progress, start, stop, final))


class Pruner:
    """Base class of all methods. Override `masks`, and the other methods as needed."""

    info: ClassVar[PrunerInfo]

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Prepare for a run, before the first training step.

        Parameters
        ----------
        network
            The dense network.
        context
            What the method may use during this run.
        """
        self.network = network
        self.context = context

    @property
    def probe(self) -> Probe:
        """The probe of the context.

        Raises
        ------
        ValueError
            If the context has no probe.
        """
        if self.context.probe is None:
            raise ValueError(
                f"method '{self.info.name}' needs a probe: set the field probe of its PruneContext"
            )
        return self.context.probe

    def layer_weights(self) -> dict[str, nn.Parameter]:
        """Weights of the prunable layers: layer name -> parameter."""
        layers = self.context.structure.layers
        return {layer.name: self.network.get_parameter(layer.weight) for layer in layers}

    def restarts(self) -> tuple[float, ...]:
        """Progress values, increasing and in (0, 1), at which training restarts.

        At the first step that reaches such a value, and after `masks`, the optimizer state is
        cleared. The learning-rate schedule of the recipe starts again, and spans the time up to
        the next restart or the end of training.
        """
        return ()

    def observe(self, activity: Activity) -> None:
        """Receive the activity of one training batch.

        The tensors have no gradient. A method may keep sums over feature maps, but must not keep
        feature maps, because the next batch overwrites them.

        Parameters
        ----------
        activity
            Inputs and outputs of every layer.
        """

    def last_unit_scores(self) -> Mapping[str, Tensor] | None:
        """Return the scores of units that the last masks were chosen by, for diagnostics.

        Returns
        -------
        Mapping or None
            Group name -> [units], the higher the more important; -inf for pruned units. None if
            the method gives units no scores, or has not chosen yet.
        """
        return None

    def penalty(self) -> Tensor | None:
        """Return a scalar to add to the loss, or None."""
        return None

    def gradients(self) -> None:
        """Read ``.grad`` of the parameters of ``self.network`` after a backward pass.

        They are the gradients of loss plus penalty. Masked weights have gradients too, because a
        mask sets weights to zero, not gradients. The gradients of a removed unit are zero.
        """

    def due(self, progress: float) -> bool:
        """Whether to call `masks` now.

        Parameters
        ----------
        progress
            Share of the training budget that is spent, in [0, 1]. Samples that the probe passed
            count as well.
        """
        return True

    def masks(self, progress: float) -> Masks | None:
        """Return the masks to apply from now on, or None if they do not change.

        Parameters
        ----------
        progress
            Share of the training budget that is spent, in [0, 1].
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return what a run must store so that it can go on after an interruption.

        These are all attributes but the network and the context. They may be numbers, texts,
        tensors, arrays, random generators, optimizers, objects of classes of the method's package,
        and lists, dictionaries, tuples and sets of all of these. A method that keeps anything else
        between two training steps, such as a lambda or an iterator, leaves it out here and makes
        it again in `load_state_dict`.
        """
        return {n: v for n, v in vars(self).items() if n not in ("network", "context")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, instead of `begin`.

        ``self.network`` and ``self.context`` are set; the network has the weights of the moment at
        which the state was stored only when this function has returned.
        """
        vars(self).update(state)

    def fidelity(self) -> tuple[Quantity, ...]:
        """Return figures of the run by which the method is what its name says.

        Optional, and called after a run by ``python -m tools.fidelity`` only. What holds for any
        method, such as the share of weights that came back, is measured without this.
        """
        return ()
