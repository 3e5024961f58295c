"""Rules about the runs of a method; each raises ContractError if it is broken."""

from __future__ import annotations

from collections.abc import Callable

import torch

from baselines.shared.masks import Masks
from pipelines.authoring.mask_rules import ContractError
from pipelines.authoring.rehearsal import Rehearsal
from pipelines.settings.spec import SYNOPS
from pipelines.settings.tolerance import TOLERANCE

#: Allowed difference between target and final density, by granularity. In the tiny network one unit
#: owns up to 8 % of the weights.
SLACK = TOLERANCE | {"structured": 0.08}
#: Share of the budget that a run must spend.
PART = 0.98


def reaches_its_density(rehearsal: Rehearsal) -> None:
    """Require that the last masks have the target density, or without a target one below 1."""
    target, density = rehearsal.target, rehearsal.density
    if target is None:
        if not 0 < density < 1:
            raise ContractError(
                f"the method finds no density of its own, but ends at {density:g}: if "
                "info.emergent is True, prune something when context.density is None."
            )
    elif target != SYNOPS and abs(density - target) > SLACK[rehearsal.granularity]:
        raise ContractError(
            f"the target density is {target:g}, and the method ends at {density:.3f}: its last "
            "masks must have density context.density; select() of baselines/shared/selection.py "
            "does so."
        )


def spends_its_budget(rehearsal: Rehearsal) -> None:
    """Require that every sample a method uses is charged, and that the budget is spent."""
    spent, budget = rehearsal.meter.spent, rehearsal.meter.budget
    if rehearsal.uncharged:
        raise ContractError(
            f"the method passes {rehearsal.uncharged} samples through self.network, which are not "
            "charged to the budget: use self.probe, which charges them."
        )
    if not PART * budget <= spent <= budget:
        raise ContractError(
            f"the run ends after {spent} of {budget} samples: use the whole budget, and no more."
        )


def draws_from_its_generator(rehearsal: Rehearsal) -> None:
    """Require that all random numbers come from the generator of the context."""
    if rehearsal.drew:
        raise ContractError(
            f"the method draws from the global generator of {' and '.join(rehearsal.drew)}: pass "
            "generator=self.context.generator, the only source of random numbers."
        )


def repeats(one: Rehearsal, two: Rehearsal) -> None:
    """Require that two runs with the same seed give the same masks."""
    if len(one.masks) != len(two.masks) or not all(map(_equal, one.masks, two.masks)):
        raise ContractError(
            "two runs with one seed give different masks: draw from self.context.generator only, "
            "and keep no state from one run to the next."
        )


def goes_on(whole: Rehearsal, rest: Rehearsal) -> None:
    """Require that a run which was interrupted ends as one that was not, to the last bit."""
    ends = whole.masks[len(whole.masks) - len(rest.masks) :]
    same = len(ends) == len(rest.masks) and all(map(_equal, ends, rest.masks))
    names = [n for n, value in whole.weights.items() if not _same_bits(value, rest.weights[n])]
    if not same or names or whole.meter.phases != rest.meter.phases:
        what = f"other values of '{names[0]}'" if names else "other masks"
        raise ContractError(
            f"a run that is interrupted and goes on has {what}: keep all that changes during a run "
            "in attributes of the method, or return it in state_dict() and take it over in "
            "load_state_dict()."
        )


RULES: tuple[Callable[[Rehearsal], None], ...] = (
    reaches_its_density,
    spends_its_budget,
    draws_from_its_generator,
)


def _same_bits(one: torch.Tensor, two: torch.Tensor) -> bool:
    return torch.equal(one, two) or one.numpy().tobytes() == two.numpy().tobytes()


def _equal(one: Masks, two: Masks) -> bool:
    """Whether two masks keep the same entries, units and time steps."""
    pairs = [(one.parameters, two.parameters), (one.units, two.units), (one.steps, two.steps)]
    return all(
        a.keys() == b.keys() and all(torch.equal(kept, b[name]) for name, kept in a.items())
        for a, b in pairs
    )
