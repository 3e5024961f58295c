"""What a network of a factory must be before its cell trains."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipelines.common.errors import InputError
from pipelines.training.own_rehearsal import require_whole_state


class Smoothed(nn.Module):
    """Adds a running mean of the inputs, in a buffer that the state dict has or has not."""

    def __init__(self, persistent: bool) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("mean", torch.zeros(3), persistent)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.mean(0)
        return self.dropout(x) + self.mean


def test_a_network_with_state_outside_of_its_state_dict_is_refused() -> None:
    inputs, draw = torch.tensor([[1.0, 2.0, 3.0]]), torch.default_generator
    before = draw.get_state()
    require_whole_state(lambda: Smoothed(persistent=True), inputs, draw)
    with pytest.raises(InputError, match=r"outside of its state_dict.* self.register_buffer"):
        require_whole_state(lambda: Smoothed(persistent=False), inputs, draw)
    assert torch.equal(draw.get_state(), before)
