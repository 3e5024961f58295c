"""What silence gains: a convolution of listed spikes against a dense one, over their share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipelines.kernels.cpu import norm_scan, spike_convolution
from tests.perf.networks import Race

DENSE = "dense"
SHARES = (0.02, 0.1, 0.2, 0.3, 0.5)


def test_convolution_over_spikes(race: Race, benchmark: Any) -> None:
    """Forward, and backward for input and weights: 32 to 64 channels, 14 x 14, 256 images."""
    if not norm_scan.available():
        pytest.skip("needs a C compiler")
    benchmark.group = "convolution over the share of spikes, 32 to 64 channels"
    layer = nn.Conv2d(32, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    draw = torch.rand(256, 32, 14, 14, generator=torch.Generator().manual_seed(0))
    draw = draw.contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(layer(draw))

    def job(share: float | None) -> Any:
        x = (draw < (share or SHARES[-1])).float().requires_grad_()

        def run() -> None:
            layer.zero_grad()
            x.grad = None
            prepared = None if share is None else spike_convolution.prepare(layer, x)
            y = prepared() if prepared else layer(x)
            y.backward(gradient)

        return run

    contenders = {f"{share:.0%} of the units spike": job(share) for share in SHARES}
    race(contenders | {DENSE: job(None)}, reference=DENSE, rounds=25)
