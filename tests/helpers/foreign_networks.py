"""Networks as people write them: more rows of the table of docs/attach.md."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, spectral_norm
from torch.utils.checkpoint import checkpoint

from tests.helpers.architectures import (
    Attention,
    Case,
    Net,
    Scaled,
    Transformer,
    chain,
    conv,
    mlp,
    pooled,
)

VECTOR, TOKENS, LINE, VOLUME = (10,), (7, 6), (6, 9), (2, 5, 5, 5)
FOUR = {"steps": 4}
Forward = Callable[[Any, Any], Any]


def net(forward: Forward, **parts: nn.Module) -> nn.Module:
    """Parts, and a readout of 16 units if none is given."""
    return Net(forward, **({"fc": nn.Linear(16, 5)} | parts))


def linear(forward: Forward, **parts: nn.Module) -> nn.Module:
    """A first layer of 16 units, and further parts."""
    return net(forward, **({"a": nn.Linear(10, 16)} | parts))


def tokens(forward: Forward, **parts: nn.Module) -> nn.Module:
    """A layer that embeds tokens in 16 units, and further parts."""
    return net(forward, **({"a": nn.Linear(6, 16)} | parts))


def image(forward: Forward, **parts: nn.Module) -> nn.Module:
    """A convolution of 16 channels, and further parts."""
    return net(forward, **({"a": conv(3, 16)} | parts))


class Heaviside(torch.autograd.Function):
    """A spike, with a triangle as its derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grad * (1 - x.abs()).clamp(min=0)


class BaseNode(nn.Module):
    """A neuron as SpikingJelly has it: its membrane is an attribute, a number at first."""

    def __init__(self, learned: bool = False) -> None:
        super().__init__()
        self.v: Any = 0.0
        self.w = nn.Parameter(torch.zeros(())) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.v, float):
            self.v = torch.zeros_like(x)
        decay = 0.5 if self.w is None else self.w.sigmoid()
        self.v = self.v + (x - self.v) * decay
        spike: Tensor = Heaviside.apply(self.v - 0.2)
        self.v = (1 - spike.detach()) * self.v
        return spike


class Spiking(nn.Module):
    """Runs its steps itself, from rest, with neurons as in SpikingJelly."""

    def __init__(self, learned: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12)
        self.one, self.two = BaseNode(learned), BaseNode(learned)
        self.hidden, self.fc = nn.Linear(12 * 9, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        self.one.v = self.two.v = 0.0
        total = torch.zeros(len(x), 5)
        for _ in range(4):
            y = functional.avg_pool2d(self.one(self.norm(self.conv(x))), 2)
            total = total + self.fc(self.two(self.hidden(y.flatten(1))))
        return total / 4


class Explicit(nn.Module):
    """Membranes are passed by the loop, which the network runs itself."""

    def __init__(self, neuron: Callable[[], nn.Module], states: int) -> None:
        super().__init__()
        self.a, self.neuron, self.fc = nn.Linear(10, 16), neuron(), nn.Linear(16, 5)
        self.states = states

    def forward(self, x: Tensor) -> Tensor:
        kept: Any = [torch.zeros(len(x), self.a.out_features) for _ in range(self.states)]
        total = torch.zeros(len(x), 5)
        for _ in range(4):
            spikes, *kept = self.neuron(self.a(x), *kept)
            total = total + self.fc(spikes)
        return total


class Answer(NamedTuple):
    logits: Tensor
    hidden: Tensor


class Frozen(nn.BatchNorm2d):
    """Batch norm that stays in evaluation mode."""

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


def _hooked() -> nn.Module:
    network = image(lambda s, x: s.fc(pooled(s.a(x))))
    scale = torch.rand(16, 1, 1) + 0.5
    network.a.register_forward_hook(lambda module, inputs, output: output * scale)  # type: ignore[union-attr]
    return network


def _doubling() -> nn.Module:
    network = image(lambda s, x: s.fc(pooled(s.a(x))))
    network.a.register_forward_hook(lambda module, inputs, output: 2 * output)  # type: ignore[union-attr]
    return network


def _language() -> nn.Module:
    network = Net(
        lambda s, x: s.fc(s.down(s.up(s.embed(x)).relu()) + s.embed(x)).mean(1)[:, :5],
        embed=nn.Embedding(11, 16),
        up=nn.Linear(16, 24),
        down=nn.Linear(24, 16),
        fc=nn.Linear(16, 11, bias=False),
    )
    network.fc.weight = network.embed.weight  # type: ignore[union-attr, assignment]
    return network


def _heads(s: Any, x: Tensor, shape: tuple[int, int]) -> Tensor:
    q, k, v = (f(s.a(x)).unflatten(-1, shape).transpose(1, 2) for f in (s.q, s.k, s.v))
    y = functional.scaled_dot_product_attention(q, k, v)
    return s.fc(s.o(y.transpose(1, 2).flatten(2)).mean(1))


def _relative(s: Any, x: Tensor) -> Tensor:
    q, k, v = (f(s.a(x)).unflatten(-1, (4, -1)) for f in (s.q, s.k, s.v))
    scores = torch.einsum("bnhd,bmhd->bhnm", q, k).softmax(-1)
    return s.fc(s.o(torch.einsum("bhnm,bmhd->bnhd", scores, v).flatten(2)).mean(1))


def _cell(s: Any, x: Tensor) -> Tensor:
    hidden = torch.zeros(len(x), 8)
    for step in x.unbind(1):
        hidden = s.cell(s.a(step).relu(), hidden)
    return s.fc(hidden)


def _lstm_cell(s: Any, x: Tensor) -> Tensor:
    hidden = torch.zeros(len(x), 8), torch.zeros(len(x), 8)
    for step in x.unbind(1):
        hidden = s.cell(s.a(step).relu(), hidden)
    return s.fc(hidden[0])


def _option_a(s: Any, x: Tensor) -> Tensor:
    x = s.a(x)
    padded = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
    return s.fc(pooled((padded + s.b(x)).relu()))


def _mixed(s: Any, x: Tensor) -> Tensor:
    x = s.a(x)
    return s.fc((x + s.up(s.down(x.transpose(1, 2)).relu()).transpose(1, 2)).mean(1))


def _moe(s: Any, x: Tensor) -> Tensor:
    gates = s.gate(x).softmax(-1)
    return s.fc(sum(gates[:, i : i + 1] * e(x).relu() for i, e in enumerate((s.a, s.b))))


def _layers() -> list[Case]:
    """Layers of other kinds and dimensions."""
    transposed = nn.ConvTranspose1d(16, 24, 4, 2, 1, output_padding=1, groups=4)
    rnn: dict[str, Any] = {"shape": TOKENS}
    return [
        Case(
            "Conv1d, dilated, causal, chomped",
            lambda: net(
                lambda s, x: s.fc(s.b(s.a(x)[..., :-4].relu())[..., :-2].relu().mean(2)),
                a=nn.Conv1d(6, 12, 3, padding=4, dilation=2),
                b=nn.Conv1d(12, 16, 3, padding=2),
            ),
            LINE,
        ),
        Case(
            "Conv1d, depthwise separable",
            lambda: net(
                lambda s, x: s.fc(s.b(s.d(s.a(x).relu())).relu().mean(2)),
                a=nn.Conv1d(6, 12, 1),
                d=nn.Conv1d(12, 12, 3, groups=12),
                b=nn.Conv1d(12, 16, 1),
            ),
            LINE,
        ),
        Case(
            "ConvTranspose1d, groups, output padding",
            lambda: net(
                lambda s, x: s.fc(s.b(s.t(s.a(x).relu()).relu()).relu().mean(2)),
                a=nn.Conv1d(6, 16, 3),
                t=transposed,
                b=nn.Conv1d(24, 16, 3),
            ),
            LINE,
        ),
        Case(
            "ConvTranspose2d, depthwise",
            lambda: chain(lambda: nn.ConvTranspose2d(16, 16, 2, 2, groups=16)),
        ),
        Case(
            "ConvTranspose3d and BatchNorm3d",
            lambda: net(
                lambda s, x: s.fc(s.n(s.t(s.a(x).relu())).relu().mean((2, 3, 4))),
                a=nn.Conv3d(2, 8, 3),
                t=nn.ConvTranspose3d(8, 16, 2),
                n=nn.BatchNorm3d(16),
            ),
            VOLUME,
        ),
        Case(
            "Conv3d, groups, max pooling",
            lambda: net(
                lambda s, x: s.fc(
                    functional.max_pool3d(s.b(s.a(x).relu()).relu(), 2).flatten(2).mean(2)
                ),
                a=nn.Conv3d(2, 8, 3, padding=1),
                b=nn.Conv3d(8, 16, 3, padding=1, groups=2),
            ),
            VOLUME,
        ),
        Case(
            "padding modes circular and reflect",
            lambda: image(
                lambda s, x: s.fc(pooled(s.c(s.b(s.a(x))).relu())),
                b=nn.Conv2d(16, 12, 3, padding=1, padding_mode="circular"),
                c=nn.Conv2d(12, 16, 3, padding=1, padding_mode="reflect"),
            ),
        ),
        Case(
            "embedding, linear layers",
            lambda: net(
                lambda s, x: s.fc(s.a(s.embed(x)).relu().mean(1)),
                embed=nn.Embedding(11, 12),
                a=nn.Linear(12, 16),
            ),
            (7,),
            integers=11,
        ),
        Case(
            "embedding tied with the readout",
            _language,
            (7,),
            integers=11,
        ),
        Case(
            "EmbeddingBag and a residual layer",
            lambda: net(
                lambda s, x: s.fc(s.bag(x) + s.b(s.a(s.bag(x)).relu())),
                bag=nn.EmbeddingBag(11, 16),
                a=nn.Linear(16, 12),
                b=nn.Linear(12, 16),
            ),
            (7,),
            integers=11,
        ),
        Case(
            "LSTM of two layers, both directions",
            lambda: net(
                lambda s, x: s.fc(s.b(s.rnn(s.a(x).relu())[0].mean(1)).relu()),
                a=nn.Linear(6, 12),
                rnn=nn.LSTM(12, 8, 2, batch_first=True, bidirectional=True),
                b=nn.Linear(16, 16),
            ),
            **rnn,
        ),
        Case(
            "LSTM with projection",
            lambda: net(
                lambda s, x: s.fc(s.rnn(s.a(x).relu())[0].mean(1)),
                a=nn.Linear(6, 12),
                rnn=nn.LSTM(12, 20, batch_first=True, proj_size=16),
            ),
            **rnn,
        ),
        Case(
            "GRUCell in a loop",
            lambda: net(_cell, a=nn.Linear(6, 12), cell=nn.GRUCell(12, 8), fc=nn.Linear(8, 5)),
            **rnn,
        ),
        Case(
            "LSTMCell in a loop",
            lambda: net(
                _lstm_cell, a=nn.Linear(6, 12), cell=nn.LSTMCell(12, 8), fc=nn.Linear(8, 5)
            ),
            **rnn,
        ),
        Case(
            "MultiheadAttention",
            lambda: tokens(
                lambda s, x: s.fc(s.b(s.m(s.a(x), s.a(x), s.a(x))[0]).relu().mean(1)),
                m=nn.MultiheadAttention(16, 4, batch_first=True),
                b=nn.Linear(16, 16),
            ),
            TOKENS,
            options={"ignore": ["a", "m"]},
        ),
        Case(
            "MultiheadAttention, nothing kept",
            lambda: tokens(
                lambda s, x: s.fc(s.b(s.m(s.a(x), s.a(x), s.a(x))[0]).relu().mean(1)),
                m=nn.MultiheadAttention(16, 4, batch_first=True),
                b=nn.Linear(16, 16),
            ),
            TOKENS,
            refused="'m.out_proj' is not called",
        ),
        Case(
            "TransformerEncoderLayer",
            lambda: tokens(
                lambda s, x: s.fc(s.t(s.a(x)).mean(1)),
                t=nn.TransformerEncoderLayer(16, 4, 32, batch_first=True),
            ),
            TOKENS,
            options={"ignore": ["a", "t.self_attn", "t.linear2"]},
        ),
        Case(
            "Bilinear",
            lambda: linear(lambda s, x: s.fc(s.m(s.a(x).relu(), x)), m=nn.Bilinear(16, 10, 16)),
            VECTOR,
            refused="'a'",
        ),
        Case(
            "lazy layers that have run",
            lambda: _warm(
                nn.Sequential(
                    nn.LazyConv2d(12, 3),
                    nn.LazyBatchNorm2d(),
                    nn.ReLU(),
                    nn.Flatten(),
                    nn.LazyLinear(5),
                ),
                3,
                8,
                8,
            ),
            readout="4",
        ),
        Case(
            "spectral norm",
            lambda: linear(lambda s, x: s.fc(s.a(x).relu()), a=spectral_norm(nn.Linear(10, 16))),
            VECTOR,
            refused="computed",
        ),
        Case(
            "orthogonal parametrization",
            lambda: linear(
                lambda s, x: s.fc(s.b(s.a(x).relu()).relu()),
                b=parametrizations.orthogonal(nn.Linear(16, 16)),
            ),
            VECTOR,
            refused="computed",
        ),
        Case(
            "weight standardisation in a layer of its own",
            lambda: net(
                lambda s, x: s.fc(pooled(s.b(s.a(x)))), a=Standard(3, 8), b=Standard(8, 16)
            ),
            refused="'a'",
        ),
        Case("RMSNorm", lambda: mlp(lambda: nn.RMSNorm(16)), VECTOR, "5", refused="'0'"),
        Case("LocalResponseNorm", lambda: chain(lambda: nn.LocalResponseNorm(4)), refused="'a.0'"),
        Case("InstanceNorm without affine", lambda: chain(lambda: nn.InstanceNorm2d(16))),
        Case("batch norm that stays in evaluation mode", lambda: chain(lambda: Frozen(16))),
        Case("dropout of channels", lambda: chain(lambda: nn.Dropout2d(0.2))),
        Case("maxout", lambda: chain(lambda: Net(lambda s, x: x.unflatten(1, (-1, 2)).amax(2)), 8)),
        Case(
            "unfold and fold",
            lambda: chain(
                lambda: Net(lambda s, x: functional.fold(functional.unfold(x, 2), (8, 8), 2))
            ),
            refused="'a.0'",
        ),
    ]


def _wide(transformer: nn.Module) -> nn.Module:
    transformer.embed = nn.Linear(4, 16)
    return transformer


def _locked() -> nn.Module:
    network = mlp(nn.Identity)
    network.lock = threading.Lock()  # type: ignore[assignment]
    return network


def _auxiliary(s: Any, x: Tensor) -> Tensor:
    x = pooled(s.a(x))
    return s.fc(x) + (0.1 * s.aux(x) if s.training else 0)


def _linear_attention(s: Any, x: Tensor) -> Tensor:
    q, k, v = (f(s.a(x)).relu() for f in (s.q, s.k, s.v))
    return s.fc(s.o(q @ (k.mT @ v)).relu().mean(1))


def _tempered(s: Any, x: Tensor) -> Tensor:
    q, k, v = (f(s.a(x)).unflatten(-1, (4, -1)).transpose(1, 2) for f in (s.q, s.k, s.v))
    weights = (q @ k.mT * s.scale.scale).softmax(-1)
    return s.fc(s.o((weights @ v).transpose(1, 2).flatten(2)).mean(1))


def _warm(network: nn.Module, *shape: int) -> nn.Module:
    network(torch.randn(2, *shape))
    return network


class Standard(nn.Conv2d):
    """Convolution whose weight is standardised in its forward pass."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(i, o, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / (self.weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return functional.conv2d(x, weight, self.bias, padding=1).relu()


def _code() -> list[Case]:
    """Ways to write a forward pass."""
    return [
        Case(
            "functional convolution with a module's weight",
            lambda: image(
                lambda s, x: s.fc(pooled(functional.conv2d(s.a(x), s.b.weight, s.b.bias).relu())),
                b=nn.Conv2d(16, 16, 3),
            ),
            refused="'b'",
        ),
        Case(
            "decoder that reuses the encoder's weight",
            lambda: Net(
                lambda s, x: s.fc(functional.linear(s.a(x).relu(), s.a.weight.t()).relu()),
                a=nn.Linear(10, 16),
                fc=nn.Linear(10, 5),
            ),
            VECTOR,
        ),
        Case(
            "raw parameter as the next weight",
            lambda: linear(
                lambda s, x: s.fc((s.a(x).relu() @ s.m.scale).relu()), m=Scaled("parameter", 16, 16)
            ),
            VECTOR,
        ),
        Case(
            "einsum with a module's weight",
            lambda: linear(
                lambda s, x: s.fc(torch.einsum("bi,oi->bo", s.a(x).relu(), s.b.weight).relu()),
                b=nn.Linear(16, 16, bias=False),
            ),
            VECTOR,
            refused="'b'",
        ),
        Case(
            "in-place activations and additions",
            lambda: image(
                lambda s, x: s.fc(pooled(s.a(x).mul_(2).add_(s.b(x)).relu_())),
                a=nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)),
                b=nn.Conv2d(3, 16, 1),
            ),
        ),
        Case(
            "assignment to a slice of the map",
            lambda: image(lambda s, x: s.fc(pooled(_edge(s.a(x))))),
        ),
        Case(
            "GroupNorm after a concatenation",
            lambda: image(
                lambda s, x: s.fc(pooled(s.n(torch.cat([s.a(x), s.b(x)], 1)).relu())),
                b=conv(3, 8),
                n=nn.GroupNorm(2, 24),
                fc=nn.Linear(24, 5),
            ),
            refused="'a.0' and 'b.0'",
        ),
        Case(
            "GroupNorm after a concatenation of equal parts",
            lambda: image(
                lambda s, x: s.fc(pooled(s.n(torch.cat([s.a(x), s.b(x)], 1)).relu())),
                b=conv(3, 16),
                n=nn.GroupNorm(4, 32),
                fc=nn.Linear(32, 5),
            ),
        ),
        Case(
            "GroupNorm and a residual addition",
            lambda: image(
                lambda s, x: s.fc(pooled((s.n(s.b(s.a(x))) + s.a(x)).relu())),
                b=nn.Conv2d(16, 16, 3, padding=1),
                n=nn.GroupNorm(4, 16),
            ),
        ),
        Case(
            "broadcast addition over the map",
            lambda: image(
                lambda s, x: s.fc(pooled(s.a(x) + s.b(x.mean((2, 3)))[:, :, None, None])),
                b=nn.Linear(3, 16),
            ),
        ),
        Case(
            "broadcast product over tokens",
            lambda: tokens(
                lambda s, x: s.fc((s.a(x) * s.b(x.mean(1, keepdim=True))).relu().mean(1)),
                b=nn.Linear(6, 16),
            ),
            TOKENS,
        ),
        Case(
            "outer sum of two layers",
            lambda: tokens(
                lambda s, x: s.fc((s.a(x)[:, :, None] + s.b(x)[:, None]).relu().mean((1, 2))),
                b=nn.Linear(6, 16),
            ),
            TOKENS,
        ),
        Case(
            "highway gate",
            lambda: linear(
                lambda s, x: s.fc(_highway(s.a(x).relu(), s.t(s.a(x)), s.h(s.a(x)))),
                t=nn.Linear(16, 16),
                h=nn.Linear(16, 16),
            ),
            VECTOR,
        ),
        Case("sigmoid units", lambda: mlp(nn.Sigmoid), VECTOR, "5"),
        Case("units through exp", lambda: mlp(lambda: Net(lambda s, x: (-x).exp())), VECTOR, "5"),
        Case(
            "unit norm of the units",
            lambda: mlp(lambda: Net(lambda s, x: functional.normalize(x, dim=1))),
            VECTOR,
            "5",
        ),
        Case(
            "gate of one channel (spatial attention)",
            lambda: image(
                lambda s, x: s.fc(pooled(s.a(x) * s.g(s.a(x)).sigmoid())),
                g=nn.Conv2d(16, 1, 3, padding=1),
            ),
        ),
        Case(
            "temperature per head",
            lambda: tokens(
                _tempered,
                scale=Scaled("parameter", 4, 1, 1),
                **_projections(),
            ),
            TOKENS,
        ),
        Case(
            "norm written by hand",
            lambda: mlp(lambda: Net(lambda s, x: x / x.std(1, keepdim=True))),
            VECTOR,
            "5",
            refused="'std'",
        ),
        Case(
            "in-place views",
            lambda: image(
                lambda s, x: s.fc(s.b((2 * s.a(x)).flatten(2).transpose_(1, 2)).relu_().mean(1)),
                b=nn.Linear(16, 16),
            ),
        ),
        Case(
            "every second channel",
            lambda: image(lambda s, x: s.fc(pooled(s.a(x)[:, ::2])), fc=nn.Linear(8, 5)),
            refused="'a.0'",
        ),
        Case(
            "channels by index",
            lambda: image(lambda s, x: s.fc(pooled(s.a(x)[:, torch.randperm(16)]))),
            refused="'a.0'",
        ),
        Case(
            "channels repeated",
            lambda: image(
                lambda s, x: s.fc(pooled(s.a(x).repeat(1, 2, 1, 1))), fc=nn.Linear(32, 5)
            ),
        ),
        Case(
            "channels repeated one by one",
            lambda: image(
                lambda s, x: s.fc(pooled(s.a(x).repeat_interleave(2, 1))), fc=nn.Linear(32, 5)
            ),
        ),
        Case(
            "fixed blur of each channel",
            lambda: chain(
                lambda: Net(
                    lambda s, x: functional.conv2d(
                        x, torch.full((x.shape[1], 1, 2, 2), 0.25), groups=x.shape[1]
                    )
                )
            ),
        ),
        Case(
            "blur with a buffer, channels counted in the code",
            lambda: chain(
                lambda: Net(
                    lambda s, x: functional.conv2d(x, s.kernel.scale, groups=16),
                    kernel=Scaled("buffer", 16, 1, 3, 3),
                )
            ),
            refused="'a.0'",
        ),
        Case(
            "blur with a buffer",
            lambda: chain(
                lambda: Net(
                    lambda s, x: functional.conv2d(x, s.kernel.scale, groups=x.shape[1]),
                    kernel=Scaled("buffer", 16, 1, 3, 3),
                )
            ),
        ),
        Case(
            "linear attention",
            lambda: tokens(_linear_attention, **_projections()),
            TOKENS,
            refused="'q'",
        ),
        Case(
            "Gram matrix of the channels",
            lambda: image(
                lambda s, x: s.fc((s.a(x).flatten(2) @ s.a(x).flatten(2).mT).flatten(1)),
                fc=nn.Linear(256, 5),
            ),
            refused="'a.0'",
        ),
        Case(
            "Fourier filter",
            lambda: chain(lambda: Net(lambda s, x: torch.fft.irfft2(torch.fft.rfft2(x)))),
            refused="'a.0'",
        ),
        Case(
            "convolution across channels (ECA)",
            lambda: image(
                lambda s, x: s.fc(
                    pooled(s.a(x) * s.e(pooled(s.a(x))[:, None])[:, 0, :, None, None])
                ),
                e=nn.Conv1d(1, 1, 3, padding=1),
            ),
            refused="'a.0'",
        ),
        Case(
            "BatchNorm1d behind flatten",
            lambda: image(
                lambda s, x: s.fc(s.n(s.a(x).flatten(1)).relu()),
                n=nn.BatchNorm1d(1024),
                fc=nn.Linear(1024, 5),
            ),
        ),
        Case(
            "LayerNorm behind flatten",
            lambda: image(
                lambda s, x: s.fc(s.n(s.a(x).flatten(1)).relu()),
                n=nn.LayerNorm(1024),
                fc=nn.Linear(1024, 5),
            ),
        ),
        Case(
            "inputs concatenated again",
            lambda: linear(
                lambda s, x: s.fc(s.b(torch.cat([x, s.a(x).relu()], 1)).relu()),
                b=nn.Linear(26, 16),
            ),
            VECTOR,
        ),
        Case(
            "pooling along the units",
            lambda: mlp(lambda: Net(lambda s, x: functional.max_pool1d(x, 2)), 8),
            VECTOR,
            "5",
            refused="'0'",
        ),
        Case(
            "auxiliary readout in training mode only",
            lambda: image(_auxiliary, aux=nn.Linear(16, 5)),
            options={"readout": ("fc", "aux")},
        ),
        Case(
            "auxiliary layers in training mode only",
            lambda: image(_auxiliary, aux=nn.Sequential(nn.Linear(16, 12), nn.Linear(12, 5))),
            refused="'aux.0'",
        ),
        Case(
            "module called by its forward method",
            lambda: linear(
                lambda s, x: s.fc(s.b.forward(s.a(x).relu()).relu()), b=nn.Linear(16, 16)
            ),
            VECTOR,
            refused="'b' is not called",
        ),
        Case(
            "activation checkpointing inside",
            lambda: linear(
                lambda s, x: s.fc(checkpoint(s.b, s.a(x).relu(), use_reentrant=False).relu()),
                b=nn.Linear(16, 16),
            ),
            VECTOR,
        ),
        Case(
            "attribute that cannot be copied",
            _locked,
            VECTOR,
            "5",
            refused="cannot be copied",
        ),
        Case(
            "two kinds of parts",
            lambda: image(
                lambda s, x: s.fc(s.t(s.p(s.a(x)).flatten(2).transpose(1, 2))),
                p=nn.PixelShuffle(2),
                t=_wide(Transformer(nn.ReLU, Attention((-1, 4)))),
                fc=nn.Identity(),
            ),
            readout="t.fc",
        ),
        Case(
            "channels rolled by one",
            lambda: chain(lambda: Net(lambda s, x: x.roll(1, 1))),
            refused="'a.0'",
        ),
        Case("channels flipped", lambda: chain(lambda: Net(lambda s, x: x.flip(1)))),
        Case(
            "cumulative sum over channels",
            lambda: chain(lambda: Net(lambda s, x: x.cumsum(1))),
            refused="'a.0'",
        ),
        Case(
            "spatial softmax",
            lambda: chain(lambda: Net(lambda s, x: x * x.flatten(2).softmax(2).view_as(x))),
        ),
        Case(
            "global attention over tokens",
            lambda: tokens(
                lambda s, x: s.fc((s.a(x).relu() * s.g(s.a(x).relu()).softmax(1)).sum(1)),
                g=nn.Linear(16, 1),
            ),
            TOKENS,
        ),
        Case(
            "scaled_dot_product_attention, its scale from the width",
            lambda: tokens(lambda s, x: _heads(s, x, (4, -1)), **_projections()),
            TOKENS,
            refused="'q'",
        ),
        Case(
            "scaled_dot_product_attention, heads of fixed size",
            lambda: tokens(lambda s, x: _heads(s, x, (-1, 4)), **_projections()),
            TOKENS,
        ),
        Case("attention by einsum", lambda: tokens(_relative, **_projections()), TOKENS),
        Case(
            "class token and positions",
            lambda: tokens(
                lambda s, x: s.fc(s.b(_prepend(s.a(x), s.cls.scale) + s.pos.scale).relu().mean(1)),
                cls=Scaled("parameter", 1, 1, 16),
                pos=Scaled("parameter", 1, 8, 16),
                b=nn.Linear(16, 16),
            ),
            TOKENS,
        ),
        Case(
            "graph convolution with an adjacency matrix",
            lambda: tokens(
                lambda s, x: s.fc(
                    (s.adj.scale @ s.b((s.adj.scale @ s.a(x)).relu())).relu().mean(1)
                ),
                adj=Scaled("buffer", 7, 7),
                b=nn.Linear(16, 16),
            ),
            TOKENS,
        ),
        Case(
            "token mixing (MLP-Mixer), kept",
            lambda: tokens(_mixed, down=nn.Linear(7, 12), up=nn.Linear(12, 7)),
            TOKENS,
            options={"ignore": ["down", "up"]},
        ),
        Case(
            "token mixing (MLP-Mixer)",
            lambda: tokens(_mixed, down=nn.Linear(7, 12), up=nn.Linear(12, 7)),
            TOKENS,
            refused="'down'",
        ),
        Case(
            "mixture of experts",
            lambda: linear(_moe, b=nn.Linear(10, 16), gate=nn.Linear(10, 2)),
            VECTOR,
            refused="'gate'",
        ),
        Case(
            "mixture of experts, gate kept",
            lambda: linear(_moe, b=nn.Linear(10, 16), gate=nn.Linear(10, 2)),
            VECTOR,
            options={"ignore": ["gate"]},
        ),
        Case(
            "shortcut padded with channels (ResNet A)",
            lambda: Net(
                _option_a,
                a=conv(3, 8),
                b=nn.Conv2d(8, 16, 3, 2, 1),
                fc=nn.Linear(16, 5),
            ),
            refused="'a.0'",
        ),
        Case(
            "split of unequal parts",
            lambda: image(
                lambda s, x: s.fc(pooled(torch.cat(s.a(x).split([4, 12], 1)[::-1], 1))),
            ),
            refused="'a.0'",
        ),
        Case(
            "space to depth by hand",
            lambda: chain(
                lambda: Net(
                    lambda s, x: (
                        x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 1, 4, 5, 2, 3).flatten(1, 3)
                    )
                ),
                64,
            ),
        ),
        Case(
            "one norm for two branches",
            lambda: image(
                lambda s, x: s.fc(pooled(s.n(s.a(x)).relu() + s.n(s.b(x)).relu())),
                b=nn.Conv2d(3, 16, 3, padding=1),
                n=nn.BatchNorm2d(16),
            ),
        ),
        Case(
            "layer under no_grad",
            lambda: linear(
                lambda s, x: s.fc(s.b(_without_grad(s.a, x)).relu()),
                b=nn.Linear(16, 16),
            ),
            VECTOR,
        ),
        Case("forward hook with a tensor per channel", _hooked, refused="'a.0'"),
        Case("forward hook that doubles", _doubling),
        Case("noise in the forward pass", lambda: chain(Noise), refused="'a.0'"),
        Case(
            "path that depends on the data",
            lambda: linear(
                lambda s, x: s.fc(s.b(s.a(x)).relu() if float(x[0, 0]) > 9 else s.a(x).relu()),
                b=nn.Linear(16, 16),
            ),
            VECTOR,
            refused="'b'",
        ),
        Case(
            "tuple of outputs, one of them with units",
            lambda: linear(lambda s, x: Answer(s.fc(s.a(x).relu()), s.a(x))),
            VECTOR,
        ),
        Case(
            "dict of outputs",
            lambda: linear(lambda s, x: {"logits": s.fc(s.a(x).relu()), "number": 3}),
            VECTOR,
        ),
        Case(
            "channels_last",
            lambda: vgg_like().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            readout="7",
            channels_last=True,
        ),
        Case("bfloat16", lambda: vgg_like().bfloat16(), readout="7", dtype=torch.bfloat16),
        Case("float16", lambda: vgg_like().half(), readout="7", dtype=torch.float16),
        Case("float64", lambda: vgg_like().double(), readout="7", dtype=torch.float64),
        Case(
            "TorchScript",
            lambda: torch.jit.script(nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 5))),
            VECTOR,
            "2",
            refused="TorchScript",
        ),
        Case(
            "traced by torch.fx",
            lambda: torch.fx.symbolic_trace(vgg_like()),
            readout="7",
        ),
    ]


def vgg_like() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


def _projections() -> dict[str, nn.Module]:
    return {name: nn.Linear(16, 16) for name in "qkvo"}


def _edge(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :, 0] = 0
    return x


def _highway(x: Tensor, gate: Tensor, y: Tensor) -> Tensor:
    return y.relu() * gate.sigmoid() + x * (1 - gate.sigmoid())


def _prepend(x: Tensor, token: Tensor) -> Tensor:
    return torch.cat([token.expand(len(x), -1, -1), x], 1)


def _without_grad(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = layer(x).relu()
        return out


def _neurons() -> list[Case]:
    """Neurons of other kinds."""

    def rows(neuron: Callable[[], nn.Module]) -> nn.Module:
        return nn.Sequential(nn.Linear(10, 16), neuron(), nn.Linear(16, 5))

    def maps(neuron: Callable[[], nn.Module]) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 12, 3), neuron(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(108, 5)
        )

    hidden: dict[str, Any] = {"init_hidden": True, "threshold": 0.2}
    return [
        Case("neurons with an attribute as membrane (SpikingJelly)", Spiking),
        Case("parametric leak (PLIF)", lambda: Spiking(learned=True)),
        Case(
            "snn.Leaky, a leak and threshold per channel",
            lambda: maps(
                lambda: snn.Leaky(
                    torch.rand(12, 1, 1),
                    threshold=torch.rand(12, 1, 1),
                    learn_threshold=True,
                    learn_beta=True,
                    init_hidden=True,
                )
            ),
            readout="4",
            options=FOUR,
        ),
        Case(
            "snn.Leaky, a leak per place",
            lambda: maps(lambda: snn.Leaky(torch.rand(12, 6, 6), **hidden)),
            readout="4",
            options=FOUR,
        ),
        Case(
            "snn.Leaky, reset to zero, no delay",
            lambda: rows(
                lambda: snn.Leaky(0.5, reset_mechanism="zero", reset_delay=False, **hidden)
            ),
            VECTOR,
            "2",
            options=FOUR,
        ),
        Case(
            "snn.Leaky, no reset, graded spikes",
            lambda: rows(
                lambda: snn.Leaky(
                    0.5,
                    reset_mechanism="none",
                    graded_spikes_factor=2.0,
                    learn_graded_spikes_factor=True,
                    **hidden,
                )
            ),
            VECTOR,
            "2",
            options=FOUR,
        ),
        Case(
            "snn.Synaptic, two leaks per neuron",
            lambda: rows(
                lambda: snn.Synaptic(
                    torch.rand(16), torch.rand(16), learn_alpha=True, learn_beta=True, **hidden
                )
            ),
            VECTOR,
            "2",
            options=FOUR,
        ),
        Case(
            "snn.Leaky, states passed by hand",
            lambda: Explicit(lambda: snn.Leaky(0.5, threshold=0.2), 1),
            VECTOR,
        ),
        Case(
            "snn.Synaptic, states passed by hand",
            lambda: Explicit(lambda: snn.Synaptic(0.5, 0.5, threshold=0.2), 2),
            VECTOR,
        ),
        Case(
            "snn.RLeaky, convolution",
            lambda: maps(lambda: snn.RLeaky(0.5, conv2d_channels=12, kernel_size=3, **hidden)),
            readout="4",
            options=FOUR,
        ),
        Case(
            "snn.SLSTM, its state depends on the width of its input",
            lambda: rows(lambda: snn.SLSTM(16, 16, init_hidden=True, threshold=0.05)),
            VECTOR,
            "2",
            refused="'0'",
            options=FOUR,
        ),
        Case(
            "snn.SConv2dLSTM",
            lambda: maps(lambda: snn.SConv2dLSTM(12, 12, 3, init_hidden=True, threshold=0.02)),
            readout="4",
            refused="'1.conv'",
            options=FOUR,
        ),
        Case(
            "snn.SConv2dLSTM, kept",
            lambda: maps(lambda: snn.SConv2dLSTM(12, 12, 3, init_hidden=True, threshold=0.02)),
            readout="4",
            options=FOUR | {"ignore": ["1"]},
        ),
        Case(
            "snn.LeakyParallel",
            lambda: net(
                lambda s, x: s.fc(s.n(s.a(x).transpose(0, 1)).mean(0)),
                a=nn.Linear(6, 12),
                n=snn.LeakyParallel(12, 16, threshold=0.02),
            ),
            TOKENS,
        ),
        Case(
            "spikes added (SEW)",
            lambda: nn.Sequential(
                Net(lambda s, x: s.n(s.c(x)), c=nn.Conv2d(3, 12, 3), n=snn.Leaky(0.5, **hidden)),
                Net(
                    lambda s, x: x + s.n(s.c(x)),
                    c=nn.Conv2d(12, 12, 3, padding=1),
                    n=snn.Leaky(0.5, **hidden),
                ),
                nn.Flatten(),
                nn.Linear(432, 5),
            ),
            readout="3",
            options=FOUR,
        ),
        Case(
            "neurons before the layer (pre-synaptic)",
            lambda: net(
                lambda s, x: s.fc(s.n2(s.b(s.n(s.a(x))))),
                a=nn.Linear(10, 12),
                n=snn.Leaky(0.5, **hidden),
                b=nn.Linear(12, 16),
                n2=snn.Leaky(0.5, **hidden),
            ),
            VECTOR,
            options=FOUR,
        ),
        Case(
            "spiking readout",
            lambda: nn.Sequential(
                nn.Linear(10, 16),
                snn.Leaky(0.5, **hidden),
                nn.Linear(16, 5),
                snn.Leaky(0.5, output=True, **hidden),
            ),
            VECTOR,
            "2",
            options=FOUR,
        ),
    ]


def foreign() -> list[Case]:
    """All rows."""
    return [*_layers(), *_code(), *_neurons()]
