"""Rules of a method's runs."""

from __future__ import annotations

from collections.abc import Callable

import torch

from baselines.shared.masks import Masks
from pipelines.authoring.mask_rules import ContractError
from pipelines.authoring.rehearsal import Rehearsal
from pipelines.settings.tolerance import TOLERANCE

#: The tiny network is coarser than a real one: one of its units holds up to 8 % of it.
SLACK = TOLERANCE | {"structured": 0.08}
PART = 0.98


def reaches_its_density(rehearsal: Rehearsal) -> None:
    """The last masks keep the share of the weights that was asked for, or one of their own."""
    target, density = rehearsal.target, rehearsal.density
    if target is None:
        if not 0 < density < 1:
            raise ContractError(
                f"it finds no density of its own but ends at {density:g}: a method with "
                "info.emergent prunes something when context.density is None."
            )
    elif abs(density - target) > SLACK[rehearsal.granularity]:
        raise ContractError(
            f"it was asked for density {target:g} and ends at {density:.3f}: its last masks must "
            "keep context.density, as those of select() in baselines/shared/selection.py do."
        )


def spends_its_budget(rehearsal: Rehearsal) -> None:
    """Every sample that a method looks at is charged, and the budget is used."""
    spent, budget = rehearsal.meter.spent, rehearsal.meter.budget
    if rehearsal.unpaid:
        raise ContractError(
            f"it passes {rehearsal.unpaid} samples through self.network, which the budget does "
            "not see: use self.probe, which charges them."
        )
    if not PART * budget <= spent <= budget:
        raise ContractError(
            f"it ends after {spent} of {budget} samples: use the whole budget, and no more."
        )


def draws_from_its_generator(rehearsal: Rehearsal) -> None:
    """Random numbers come from the context alone."""
    if rehearsal.drew:
        raise ContractError(
            f"it draws from the global generator of {' and '.join(rehearsal.drew)}: pass "
            "generator=self.context.generator, the only source of random numbers."
        )


def repeats(one: Rehearsal, two: Rehearsal) -> None:
    """The same seed gives the same masks."""
    if len(one.masks) != len(two.masks) or not all(map(_equal, one.masks, two.masks)):
        raise ContractError(
            "two runs of one seed give different masks: draw from self.context.generator only, "
            "and keep nothing from one run to the next."
        )


RULES: tuple[Callable[[Rehearsal], None], ...] = (
    reaches_its_density,
    spends_its_budget,
    draws_from_its_generator,
)


def _equal(one: Masks, two: Masks) -> bool:
    """Whether two masks keep the same."""
    pairs = [(one.parameters, two.parameters), (one.units, two.units), (one.steps, two.steps)]
    return all(
        a.keys() == b.keys() and all(torch.equal(kept, b[name]) for name, kept in a.items())
        for a, b in pairs
    )
