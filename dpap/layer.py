"""State of DPAP for one layer: sums of traces and plasticity, importance, and survival."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from baselines.shared.activity import unit_activity
from dpap.importance import time_importance, unit_importance
from dpap.plasticity import Rule, SlidingThreshold, bcm, hebb, stdp
from dpap.presets import Preset
from dpap.survival import SurvivalRule, normalized
from dpap.traces import running_traces, trace

Evidence = Literal["both", "trace", "plasticity"]

#: Number of activity values that a layer collects before it processes them. Many small batches
#: are processed together, which is faster.
PENDING_LIMIT = 2**19


class LayerState:
    """Sums of the current update, and survival, of one layer.

    Parameters
    ----------
    kind
        ``conv`` or ``linear``.
    outputs, inputs
        Number of output units and of input units.
    preset
        Constants and readings.
    rule
        Plasticity rule; the paper uses ``bcm``.
    evidence
        Importance of a unit: its ``trace``, its ``plasticity``, or the product of ``both`` as in
        the paper.
    synapses
        Whether single synapses have a survival.
    steps
        Number of time steps per unit that have a survival; 0: time steps are not pruned.
    """

    def __init__(
        self,
        kind: Literal["conv", "linear"],
        outputs: int,
        inputs: int,
        preset: Preset,
        *,
        rule: Rule = "bcm",
        evidence: Evidence = "both",
        synapses: bool = False,
        steps: int = 0,
    ) -> None:
        conv = kind == "conv"
        self.preset = preset
        self.plasticity_rule = rule
        self.evidence = evidence
        self.survival_rule = SurvivalRule(
            epsilon=preset.conv_epsilon if conv else preset.linear_epsilon,
            eta=preset.conv_eta if conv else preset.linear_eta,
            bonus=preset.conv_bonus if conv else preset.linear_bonus,
            gamma=preset.gamma,
            normalization=preset.normalization,
            bonus_at_zero=preset.bonus_at_zero,
            decay=preset.decay,
        )
        self.per_batch = evidence == "both" and preset.unit_importance == "per-batch"
        self.threshold = SlidingThreshold(preset.theta)
        self.unit_survival = torch.full((outputs,), preset.beta)
        self.synapse_survival = torch.full((outputs, inputs), preset.beta) if synapses else None
        self.time_survival = torch.full((outputs, steps), preset.beta) if steps else None
        self.pending: list[tuple[Tensor, Tensor]] = []
        self.reset_sums()

    def reset_sums(self) -> None:
        """Reset the sums. The sliding threshold is kept, as it covers all batches."""
        self.process_pending()  # so that the threshold includes the collected batches
        self.plasticity: Tensor | None = None  # [outputs, inputs]
        self.activity: Tensor | None = None  # traces, [outputs]
        self.products: Tensor | None = None  # unit importance per batch, [outputs]
        self.time_importance: Tensor | None = None  # [outputs, T]

    def observe(self, pre: Tensor, post: Tensor) -> None:
        """Collect one batch of activity.

        Parameters
        ----------
        pre
            Input of the layer, [T, B, inputs, ...map], or [1, B, inputs, ...map] if it is static.
        post
            Output of its neurons, [T, B, outputs, ...map].
        """
        pair = unit_activity(pre).detach(), unit_activity(post).detach()
        if self.pending and self.pending[-1][1].shape != pair[1].shape:
            self.process_pending()  # only batches of one size are stacked
        self.pending.append(pair)
        if len(self.pending) * (pair[0].numel() + pair[1].numel()) >= PENDING_LIMIT:
            self.process_pending()

    def process_pending(self) -> None:
        """Add the collected batches to the sums."""
        if not self.pending:
            return
        pre, post = (_stack(batches) for batches in zip(*self.pending, strict=True))
        self.pending = []
        pre = pre.expand(len(post), -1, -1, -1)  # a static input is shown at every step
        tau, mean = self.preset.tau, self.preset.trace_mean
        post_trace = trace(post, tau, mean=mean)
        if self.plasticity_rule == "stdp":
            change = stdp(pre, post, tau)
        elif self.plasticity_rule == "hebb":
            change = hebb(trace(pre, tau, mean=mean), post_trace)
        else:
            threshold = self.threshold.slide(post_trace)
            change = bcm(trace(pre, tau, mean=mean), post_trace, threshold)
        self.plasticity = _add(self.plasticity, change.total())
        if self.per_batch:
            term = unit_importance(post_trace, change.strengths())
            self.products = _add(self.products, term)
        else:
            self.activity = _add(self.activity, post_trace.sum((0, 1)))
        if self.time_survival is not None:
            windows = running_traces(pre, tau).flatten(1, 2)
            term = time_importance(windows, post.flatten(1, 2))
            self.time_importance = _add(self.time_importance, term)

    @property
    def importance(self) -> Tensor | None:
        """Importance of the units, [outputs]; None before the first batch."""
        self.process_pending()
        if self.plasticity is None or self.per_batch:
            return self.products
        if self.activity is None or self.evidence == "trace":
            return self.activity
        strengths = self.plasticity.sum(1)
        if self.evidence == "plasticity":
            return strengths
        return normalized(strengths) * normalized(self.activity)

    def update(self, age: int) -> None:
        """Update the survival by the importance; without any batch it does not change.

        Parameters
        ----------
        age
            Number of survival updates before this one.
        """
        if (importance := self.importance) is None:
            return
        rule = self.survival_rule
        self.unit_survival = rule.update(self.unit_survival.to(importance), importance, age)
        if self.synapse_survival is not None and self.plasticity is not None:
            before = self.synapse_survival.to(self.plasticity)
            self.synapse_survival = rule.update(before, self.plasticity, age)
        if self.time_survival is not None and self.time_importance is not None:
            before = self.time_survival.to(self.time_importance)
            self.time_survival = rule.update(before, self.time_importance, age)

    def end_update(self) -> None:
        """Reset the sums, unless the preset accumulates them over the whole run."""
        if not self.preset.accumulate:
            self.reset_sums()


def _stack(batches: tuple[Tensor, ...]) -> Tensor:
    """Stack k batches [T, B, N] to [T, k, B, N]; a single batch is not copied."""
    return torch.stack(batches, dim=1) if len(batches) > 1 else batches[0].unsqueeze(1)


def _add(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total.add_(term)
