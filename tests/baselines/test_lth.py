"""Lottery tickets: rewinding is exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from baselines.lth import LotteryTicket
from tests.helpers.small_runs import (
    DENSITY,
    masks_and_weights,
)


def test_weights_are_rewound_to_the_early_iterate_exactly() -> None:
    pruner = LotteryTicket(rounds=2, rewind=0.1, final=0.5)
    assert pruner.restarts() == (0.25, 0.5)
    # 40 steps: the early iterate is that of step 4; weights are rewound after steps 10 and 20.
    masks, weights = masks_and_weights(pruner)
    assert [pruner.context.structure.density(m) for m in masks] == pytest.approx(
        [DENSITY**0.5, DENSITY], abs=0.003
    )
    for found, step in zip(masks, (10, 20), strict=True):
        for name, mask in found.parameters.items():
            layer = name.removesuffix(".weight")
            assert torch.equal(weights[step][layer], weights[4][layer] * mask)
            assert not torch.equal(weights[step - 1][layer], weights[4][layer])
    one, two = (m.parameters["fc1.weight"] for m in masks)
    assert not bool((two & ~one).any()), "pruned weights stay pruned"
    trained = weights[9]["fc1"].abs()
    assert trained[one].min() >= trained[~one].max(), "trained weights determine the masks"
    statistics = pruner.early["fc1_norm.running_mean"]
    assert not torch.equal(statistics, pruner.network.state_dict()["fc1_norm.running_mean"])


@pytest.mark.parametrize(
    ("options", "reason"), [({"rounds": 0}, "rounds >= 1"), ({"rewind": 0.5}, "rewind must be")]
)
def test_wrong_settings_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LotteryTicket(**options)
