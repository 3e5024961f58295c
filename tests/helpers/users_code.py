"""Code of users: activity that is logged, layers that are skipped, channels that are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional

from tests.helpers.architectures import Case, Multistep, Steps, conv, pooled
from tests.helpers.foreign_networks import TOKENS, VECTOR, net

FOLDED = {"steps": 4, "folded": True, "neurons": (Steps,)}


class Logged(nn.Module):
    """Writes down the mean activity, which no output depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = conv(3, 16), conv(16, 12), nn.Linear(12, 5)
        self.rates: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        self.rates.append(float(x.mean()))
        out: Tensor = self.fc(pooled(self.b(x)))
        return out


class Adaptive(nn.Module):
    """Neurons written by hand: a threshold and a decay of its own for each neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.fc = nn.Linear(10, 16), nn.Linear(16, 5)
        self.threshold = nn.Parameter(torch.full((16,), 0.5))
        self.decay = nn.Parameter(torch.rand(16))
        self.spike = surrogate.fast_sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        current = self.a(x)
        membrane, raised = torch.zeros_like(current), torch.zeros_like(current)
        out = torch.zeros(len(x), 5)
        for _ in range(4):
            membrane = 0.8 * membrane + current
            spikes = self.spike(membrane - self.threshold - raised)
            raised = torch.sigmoid(self.decay) * raised + 0.3 * spikes
            membrane = membrane - spikes * self.threshold
            out = out + self.fc(spikes)
        return out


def _windows(s: Any, x: Tensor) -> Any:
    """Attention within windows of 4 x 4 tokens (Swin)."""
    y = s.e(x).view(len(x), 2, 4, 2, 4, -1).permute(0, 1, 3, 2, 4, 5).reshape(len(x) * 4, 16, -1)
    y = s.p(torch.softmax(s.q(y) @ s.k(y).transpose(1, 2), -1) @ s.v(y))
    y = y.view(len(x), 2, 2, 4, 4, -1).permute(0, 1, 3, 2, 4, 5).reshape(len(x), 64, -1)
    return s.fc(functional.relu(y).mean(1))


def _pyramid(s: Any, x: Tensor) -> Any:
    a = s.a(x)
    b = s.b(functional.max_pool2d(a, 2))
    return s.fc(pooled(s.o(s.la(a) + functional.interpolate(s.lb(b), scale_factor=2))))


def _inception(s: Any, x: Tensor) -> Any:
    x = s.a(x)
    return s.fc(pooled(torch.cat([s.b(x), s.c(x), functional.max_pool2d(x, 3, 1, 1)], 1)))


def _driven(s: Any, x: Tensor) -> Any:
    """Spike-driven attention: products of units, summed over tokens."""
    q, k, v = s.q(x).relu(), s.k(x).relu(), s.v(x).relu()
    return s.fc((q * (k * v).sum(1, keepdim=True)).mean(1))


def _plain(function: Callable[[Tensor], Tensor], width: int = 16) -> nn.Module:
    """A function of a batch norm's outputs, which have both signs."""
    return net(
        lambda s, x: s.fc(pooled(s.b(function(s.n(s.a(x)))))),
        a=nn.Conv2d(3, 16, 3),
        n=nn.BatchNorm2d(16),
        b=conv(width, 12),
        fc=nn.Linear(12, 5),
    )


def _mean_added(s: Any, x: Tensor) -> Any:
    x = s.a(x)
    return s.fc(pooled(x)) + x.mean()


def _depth(s: Any, x: Tensor) -> Any:
    x = s.a(x)
    if not s.training or torch.rand(()) > 0.5:
        x = x + s.b(x)
    return s.fc(pooled(x))


class Once(Multistep):
    """The first layer runs once, and its output is repeated for all time steps."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        spikes = self.neuron(x.expand(4, *x.shape))
        out: Tensor = self.fc(pooled(spikes.flatten(0, 1))).unflatten(0, (4, -1)).mean(0)
        return out


class StepsConv(nn.Conv2d):
    """A convolution of [T, B, C, H, W], as SpikingJelly's in its multi-step mode."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class InSteps(Multistep):
    """Layers that get [T, B, ...]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = StepsConv(3, 12, 3)

    def forward(self, x: Tensor) -> Tensor:
        current = self.conv(x.expand(4, *x.shape))
        spikes = self.neuron(self.norm(current.flatten(0, 1)).unflatten(0, (4, -1)))
        out: Tensor = self.fc(pooled(spikes.flatten(0, 1))).unflatten(0, (4, -1)).mean(0)
        return out


def _film(net: Any, x: Tensor) -> Tensor:
    mean = pooled(x)
    y = net.a(x) * net.scale(mean)[:, :, None, None] + net.shift(mean)[:, :, None, None]
    out: Tensor = net.fc(pooled(net.b(y)))
    return out


def _generated(net: Any, x: Tensor) -> Tensor:
    weight = net.h(torch.ones(1, 4)).view(8, 12, 1, 1)
    out: Tensor = net.fc(pooled(functional.conv2d(net.a(x), weight)))
    return out


def _halves(net: Any, x: Tensor) -> Tensor:
    u, v = net.a(x).chunk(2, 1)
    u = u + net.f(v)
    v = v + net.g(u)
    out: Tensor = net.fc(pooled(torch.cat([u, v], 1)))
    return out


def _called(net: Any, x: Tensor) -> Tensor:
    weights = {name: 1.0 * value for name, value in net.b.named_parameters()}
    out: Tensor = net.fc(pooled(torch.func.functional_call(net.b, weights, (net.a(x),))))
    return out


def users_code() -> list[Case]:
    """All rows."""
    return [
        Case("mean activity, logged", Logged),
        Case(
            "stochastic depth",
            lambda: net(_depth, a=conv(3, 8), b=conv(8, 8), fc=nn.Linear(8, 5)),
        ),
        Case("gated linear unit (F.glu)", lambda: _plain(lambda x: functional.glu(x, 1), 8)),
        Case("channels and their negatives", lambda: _plain(lambda x: torch.cat([x, -x], 1), 32)),
        Case(
            "gate by the sum of all units",
            lambda: _plain(lambda x: x * (x.sum((1, 2, 3), True) / 100).sigmoid()),
        ),
        Case(
            "largest channel, of both signs",
            lambda: _plain(lambda x: x * x.amax(1, keepdim=True).sigmoid()),
            refused="'a'",
        ),
        Case(
            "index of the largest channel",
            lambda: _plain(lambda x: x * (x.argmax(1, keepdim=True) % 2)),
            refused="'a'",
        ),
        Case(
            "k winners of all channels",
            lambda: _plain(lambda x: x * (x >= x.topk(4, 1)[0][:, -1:])),
            refused="'topk'",
        ),
        Case(
            "number of channels in the code",
            lambda: _plain(lambda x: x / x.shape[1]),
            refused="'a'",
        ),
        Case(
            "log-sum-exp of all channels",
            lambda: _plain(lambda x: x - x.logsumexp(1, True)),
            refused="'a'",
        ),
        Case(
            "shift of some channels (TSM)",
            lambda: _plain(lambda x: torch.cat([x[:, :4].roll(1, 2), x[:, 4:]], 1)),
            refused="'a'",
        ),
        Case(
            "mean of hidden units in the scores",
            lambda: net(
                _mean_added,
                a=conv(3, 16),
                fc=nn.Linear(16, 5),
            ),
            refused="'mean'",
        ),
        Case(
            "feature pyramid",
            lambda: net(
                _pyramid,
                a=conv(3, 12),
                b=conv(12, 16),
                la=nn.Conv2d(12, 8, 1),
                lb=nn.Conv2d(16, 8, 1),
                o=conv(8, 12),
                fc=nn.Linear(12, 5),
            ),
        ),
        Case(
            "Inception block",
            lambda: net(
                _inception, a=conv(3, 8), b=conv(8, 6), c=conv(8, 6, 1), fc=nn.Linear(20, 5)
            ),
        ),
        Case(
            "attention within windows (Swin)",
            lambda: net(
                _windows,
                **{name: nn.Linear(6 if name == "e" else 16, 16) for name in "eqkvp"},
                fc=nn.Linear(16, 5),
            ),
            (64, 6),
        ),
        Case(
            "spike-driven attention",
            lambda: net(_driven, **{name: nn.Linear(6, 16) for name in "qkv"}, fc=nn.Linear(16, 5)),
            TOKENS,
        ),
        Case("adaptive threshold, by hand", Adaptive, VECTOR),
        Case("first layer runs once for all steps", Once, options=FOLDED),
        Case("layers of [T, B, C, H, W]", InSteps, options=FOLDED),
        Case(
            "conditional scale and shift (FiLM)",
            lambda: net(
                _film,
                a=conv(3, 16),
                b=conv(16, 12),
                scale=nn.Linear(3, 16),
                shift=nn.Linear(3, 16),
                fc=nn.Linear(12, 5),
            ),
        ),
        Case(
            "weights from another network (hypernetwork)",
            lambda: net(_generated, a=conv(3, 12), h=nn.Linear(4, 96), fc=nn.Linear(8, 5)),
            refused="'a.0'",
        ),
        Case(
            "reversible halves (RevNet)",
            lambda: net(_halves, a=conv(3, 12), f=conv(6, 6), g=conv(6, 6), fc=nn.Linear(12, 5)),
        ),
        Case(
            "channels by a boolean mask",
            lambda: net(
                lambda n, x: n.fc(pooled(n.b(n.a(x)[:, torch.arange(12) % 2 == 0]))),
                a=conv(3, 12),
                b=conv(6, 12),
                fc=nn.Linear(12, 5),
            ),
            refused="'a.0'",
        ),
        Case(
            "functional_call with computed weights",
            lambda: net(_called, a=conv(3, 12), b=nn.Conv2d(12, 12, 3), fc=nn.Linear(12, 5)),
            refused="'b' is changed",
        ),
        Case(
            "parameters on the device meta",
            lambda: nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 5)).to("meta"),
            VECTOR,
            "2",
            refused="'0.weight' is on the device meta",
        ),
    ]
