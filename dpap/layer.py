"""What DPAP remembers of one layer, from traces to survival."""

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

#: Figures of activity that a layer holds before it works them out: many small batches at once.
HELD = 2**19


class LayerState:
    """Sums and survival of one layer.

    Parameters
    ----------
    kind
        ``conv`` or ``linear``.
    outputs, inputs
        Units behind and before the weights.
    preset
        Constants and readings.
    rule
        Plasticity rule; the paper's is ``bcm``.
    evidence
        What a unit's importance is made of; the paper's is ``both``.
    synapses
        Whether single synapses are followed.
    steps
        Time steps to follow per unit; 0: none.
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
        self.held: list[tuple[Tensor, Tensor]] = []
        self.forget()

    def forget(self) -> None:
        """Drop the sums."""
        self.digest()  # the threshold remembers all batches
        self.plasticity: Tensor | None = None
        self.activity: Tensor | None = None
        self.products: Tensor | None = None
        self.time_importance: Tensor | None = None

    def observe(self, pre: Tensor, post: Tensor) -> None:
        """Add one batch of activity, [T, B, inputs, ...] and [T, B, outputs, ...].

        A static input may come as one step, [1, B, inputs, ...].
        """
        pair = unit_activity(pre).detach(), unit_activity(post).detach()
        if self.held and self.held[-1][1].shape != pair[1].shape:  # a last, smaller batch
            self.digest()
        self.held.append(pair)
        if len(self.held) * (pair[0].numel() + pair[1].numel()) >= HELD:
            self.digest()

    def digest(self) -> None:
        """Work the held batches into the sums."""
        if not self.held:
            return
        pre, post = (_together(batches) for batches in zip(*self.held, strict=True))
        self.held = []
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
        """Importance of the units from the sums, [outputs]; None before any batch."""
        self.digest()
        if self.plasticity is None or self.per_batch:
            return self.products
        if self.activity is None or self.evidence == "trace":
            return self.activity
        strengths = self.plasticity.sum(1)
        if self.evidence == "plasticity":
            return strengths
        return normalized(strengths) * normalized(self.activity)

    def update(self, age: int) -> None:
        """Turn the sums into survival; nothing happens where nothing was observed."""
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
        """Start the sums anew, unless they go on for ever."""
        if not self.preset.accumulate:
            self.forget()


def _together(batches: tuple[Tensor, ...]) -> Tensor:
    """Batches [T, B, N], k of them, as [T, k, B, N]; one alone is not copied."""
    return torch.stack(batches, dim=1) if len(batches) > 1 else batches[0].unsqueeze(1)


def _add(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total.add_(term)
