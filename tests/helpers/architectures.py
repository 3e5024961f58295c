"""Small networks of many kinds: rows of the table of docs/attach.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import snntorch as snn
import torch
from snntorch import utils
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

Activation = Callable[[], nn.Module]
Image = (3, 8, 8)


def lif() -> nn.Module:
    return snn.Leaky(0.5, threshold=0.3, init_hidden=True)


class Net(nn.Module):
    """Parts by name, and a function that runs them."""

    def __init__(self, forward: Callable[[Any, Any], Any], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = [forward]

    def forward(self, x: Any) -> Any:
        return self.run[0](self, x)


def conv(i: int, o: int, k: int = 3, act: Activation = nn.ReLU, **options: Any) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, k, padding=k // 2, **options), nn.BatchNorm2d(o), act())


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def chain(middle: Callable[[], nn.Module], width: int = 16, act: Activation = nn.ReLU) -> nn.Module:
    """A convolution to 16 channels, the part in question, and a convolution that reads it."""
    return Net(
        lambda s, x: s.fc(pooled(s.b(s.m(s.a(x))))),
        a=conv(3, 16, act=act),
        m=middle(),
        b=conv(width, 12, act=act),
        fc=nn.Linear(12, 5),
    )


def mlp(middle: Callable[[], nn.Module], width: int = 16) -> nn.Module:
    return nn.Sequential(
        nn.Linear(10, 16), middle(), nn.ReLU(), nn.Linear(width, 12), nn.ReLU(), nn.Linear(12, 5)
    )


def vgg(act: Activation) -> nn.Module:
    return nn.Sequential(
        *conv(3, 12, act=act),
        *conv(12, 16, act=act),
        nn.MaxPool2d(2),
        *conv(16, 16, act=act),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 20),
        act(),
        nn.Dropout(),
        nn.Linear(20, 5),
    )


class Residual(nn.Module):
    def __init__(self, act: Activation, before: bool = False, wide: int = 8) -> None:
        super().__init__()
        self.before = before
        self.stem = conv(3, 8, act=act)
        self.norm, self.act1 = nn.BatchNorm2d(8), act()
        self.one = conv(8, wide, act=act)
        self.two = nn.Sequential(nn.Conv2d(wide, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.act2, self.fc = act(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.act1(self.norm(x)) if self.before else x
        x = x + self.two(self.one(y))
        out: Tensor = self.fc(pooled(self.act2(x)))
        return out


class Dense(nn.Module):
    def __init__(self, act: Activation) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8 + 4 * i), act(), nn.Conv2d(8 + 4 * i, 4, 3, padding=1))
            for i in range(3)
        )
        self.norm, self.act, self.fc = nn.BatchNorm2d(20), act(), nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        out: Tensor = self.fc(pooled(self.act(self.norm(x))))
        return out


class Inverted(nn.Module):
    """MobileNetV2's block, with squeeze-excite as in EfficientNet if asked."""

    def __init__(self, act: Activation, excite: bool) -> None:
        super().__init__()
        self.stem = conv(3, 8, act=act)
        self.expand, self.depth = conv(8, 24, 1, act=act), conv(24, 24, act=act, groups=24)
        self.excite = Excite(24) if excite else nn.Identity()
        self.project = nn.Sequential(nn.Conv2d(24, 8, 1), nn.BatchNorm2d(8))
        self.head, self.fc = conv(8, 16, 1, act=act), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(self.excite(self.depth(self.expand(x))))
        out: Tensor = self.fc(pooled(self.head(x)))
        return out


class Excite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.up(functional.relu(self.down(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class UNet(nn.Module):
    def __init__(self, act: Activation) -> None:
        super().__init__()
        self.down1, self.down2 = conv(3, 8, act=act), conv(8, 16, act=act)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.act, self.merge, self.fc = act(), conv(16, 8, act=act), nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(functional.max_pool2d(one, 2))
        both = torch.cat([one, self.act(self.up(two))], 1)
        return pooled(self.fc(self.merge(both)))


class Attention(nn.Module):
    """Self-attention, with heads of fixed size, of a fixed number, or both."""

    def __init__(self, shape: tuple[int, int], width: int = 16, softmax: bool = True) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, 16) for _ in range(3))
        self.out, self.shape, self.softmax = nn.Linear(16, width), shape, softmax

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, self.shape).transpose(1, 2) for f in (self.q, self.k, self.v))
        weights = q @ k.transpose(-2, -1) / 2
        weights = weights.softmax(-1) if self.softmax else weights
        out: Tensor = self.out((weights @ v).transpose(1, 2).flatten(2))
        return out


class Transformer(nn.Module):
    def __init__(self, act: Activation, attention: nn.Module, norm: bool = True) -> None:
        super().__init__()
        self.embed, self.attention = nn.Linear(6, 16), attention
        self.norm1, self.norm2 = (nn.LayerNorm(16) if norm else nn.Identity() for _ in range(2))
        self.up, self.act, self.down = nn.Linear(16, 32), act(), nn.Linear(32, 16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.attention(self.norm1(x))
        x = x + self.down(self.act(self.up(self.norm2(x))))
        out: Tensor = self.fc(x.mean(1))
        return out


class Scaled(nn.Module):
    def __init__(self, kind: str, *shape: int) -> None:
        super().__init__()
        value = torch.rand(shape) + 0.5
        if kind == "parameter":
            self.scale = nn.Parameter(value)
        elif kind == "buffer":
            self.register_buffer("scale", value)
        else:
            self.scale = value

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Timed(nn.Module):
    """A network that runs its loop over time itself."""

    def __init__(self, norm: nn.Module, steps: int = 4) -> None:
        super().__init__()
        self.conv, self.norm, self.lif, self.fc = nn.Conv2d(3, 12, 3), norm, lif(), nn.Linear(12, 5)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        utils.reset(self)
        total = torch.zeros(len(x), 5)
        for t in range(self.steps):
            y = self.conv(x)
            y = self.norm[t](y) if hasattr(self.norm, "__getitem__") else self.norm(y)
            total = total + self.fc(pooled(self.lif(y)))
        return total


class Multistep(nn.Module):
    """Layers that get [T * B, ...], and neurons that get [T, B, ...], as in SpikingJelly."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.Linear(12, 5)
        self.neuron = Steps()

    def forward(self, x: Tensor) -> Tensor:
        x = x.expand(4, *x.shape).flatten(0, 1)
        spikes = self.neuron(self.norm(self.conv(x)).unflatten(0, (4, -1)))
        out: Tensor = self.fc(pooled(spikes.flatten(0, 1))).unflatten(0, (4, -1)).mean(0)
        return out


class Steps(nn.Module):
    """Leaky neurons over the first dimension, with an exact surrogate-free threshold."""

    def forward(self, x: Tensor) -> Tensor:
        membrane, spikes = torch.zeros_like(x[0]), []
        for current in x:
            membrane = 0.5 * membrane + current
            spike = torch.sigmoid(4 * (membrane - 0.3))
            membrane = membrane * (1 - spike)
            spikes.append(spike)
        return torch.stack(spikes)


class Recurrent(nn.Module):
    """Spikes of the last step return through a layer of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.back, self.lif = nn.Linear(10, 16), nn.Linear(16, 16), snn.Leaky(0.5)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        spikes, membrane = torch.zeros(len(x), 16), self.lif.reset_mem()
        spikes = torch.zeros(len(x), self.fc1.out_features)
        total = torch.zeros(len(x), 5)
        for _ in range(4):
            spikes, membrane = self.lif(self.fc1(x) + self.back(spikes), membrane)
            total = total + self.fc(spikes)
        return total


@dataclass(frozen=True)
class Case:
    """A network, and what is expected of it.

    Parameters
    ----------
    name
        Row of the table.
    build
        Makes the network.
    shape
        Of one sample.
    readout
        Path of its readout.
    refused
        A part of the message with which it is refused; empty: it is supported.
    options
        Further arguments of `attach`.
    integers
        If not 0, inputs are integers below it.
    dtype
        Of the other inputs.
    channels_last
        Whether inputs have this memory format.
    shifted
        Whether a masked unit is not constant, because a norm without parameters shifts it.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = Image
    readout: str = "fc"
    refused: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    integers: int = 0
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    shifted: bool = False

    def draw(self, samples: int) -> Tensor:
        """Draw a batch of inputs."""
        if self.integers:
            return torch.randint(self.integers, (samples, *self.shape))
        x = torch.randn(samples, *self.shape).to(self.dtype)
        return x.to(memory_format=torch.channels_last) if self.channels_last else x

    @property
    def steps(self) -> int:
        """Calls per batch."""
        return 1 if self.options.get("folded") else int(self.options.get("steps", 1))


def _families() -> list[Case]:
    rows = []
    for label, act, options in (("ReLU", nn.ReLU, {}), ("LIF", lif, {"steps": 2})):
        tokens = (7, 6)

        def row(
            name: str,
            build: Callable[[Activation], nn.Module],
            shape: tuple[int, ...] = Image,
            *,
            a: Activation = act,
            text: str = label,
            more: dict[str, Any] = options,
            **fields: Any,
        ) -> None:
            fields["options"] = more | fields.get("options", {})
            rows.append(Case(f"{name}, {text}", lambda: build(a), shape, **fields))

        row("VGG", vgg, readout="15")
        row("ResNet", Residual)
        row("ResNet, pre-activation", lambda a: Residual(a, before=True))
        row("DenseNet", Dense)
        row("MobileNetV2, linear bottlenecks", lambda a: Inverted(a, False))
        row("EfficientNet, squeeze-excite", lambda a: Inverted(a, True))
        row("U-Net, transposed convolution and skips", UNet)
        row(
            "ViT block, heads kept",
            lambda a: Transformer(a, Attention((4, 4))),
            tokens,
            options={"ignore": ["embed", "attention", "down"]},
        )
        row(
            "ViT block, heads of fixed number",
            lambda a: Transformer(a, Attention((4, -1))),
            tokens,
        )
        row(
            "Spikformer block, no softmax",
            lambda a: Transformer(a, Attention((4, -1), softmax=False), norm=False),
            tokens,
        )
        row(
            "functional pooling and flatten",
            lambda a: Net(
                lambda s, x: s.fc(functional.adaptive_avg_pool2d(s.a(x), 2).flatten(1)),
                a=conv(3, 12, act=a),
                fc=nn.Linear(48, 5),
            ),
        )
        row("grouped convolution", lambda a: chain(lambda: conv(16, 16, groups=4, act=a), act=a))
        row("depthwise convolution", lambda a: chain(lambda: conv(16, 16, groups=16, act=a), act=a))
        row(
            "concatenation of branches",
            lambda a: Net(
                lambda s, x: s.fc(pooled(s.c(torch.cat([s.a(x), s.b(x)], 1)))),
                a=conv(3, 8, act=a),
                b=conv(3, 6, act=a),
                c=conv(14, 10, act=a),
                fc=nn.Linear(10, 5),
            ),
        )
    return rows


def _parts() -> list[Case]:
    twice = conv(8, 8)
    vector = (10,)

    def halves(s: Any, x: Tensor) -> Tensor:
        one, two = s.a(x).chunk(2, 1)
        return s.fc(pooled(torch.cat([one, s.b(two)], 1)))

    def glu(s: Any, x: Tensor) -> Tensor:
        one, two = s.a(x).chunk(2, 1)
        return s.fc(s.b(one * torch.sigmoid(two)))

    def masked() -> nn.Module:
        layer = nn.Conv2d(3, 16, 3)
        prune.l1_unstructured(layer, "weight", 0.3)
        return Net(lambda s, x: s.fc(pooled(s.a(x).relu())), a=layer, fc=nn.Linear(16, 5))

    def tied() -> nn.Module:
        net = mlp(nn.Identity)
        net[3] = nn.Linear(16, 16)
        net[5] = nn.Linear(16, 16)
        net[5].weight = net[3].weight
        return net.append(nn.ReLU()).append(nn.Linear(16, 5))

    weight = parametrizations.weight_norm
    return [
        Case(
            "depthwise convolution, multiplier 2",
            lambda: chain(lambda: conv(16, 32, groups=16), 32),
        ),
        Case(
            "transposed convolution",
            lambda: chain(lambda: nn.Sequential(nn.ConvTranspose2d(16, 8, 2, 2), nn.ReLU()), 8),
        ),
        Case(
            "transposed convolution, groups",
            lambda: chain(
                lambda: nn.Sequential(nn.ConvTranspose2d(16, 8, 2, 2, groups=2), nn.ReLU()), 8
            ),
        ),
        Case("PixelShuffle", lambda: chain(lambda: nn.PixelShuffle(2), 4)),
        Case("PixelUnshuffle", lambda: chain(lambda: nn.PixelUnshuffle(2), 64)),
        Case("ChannelShuffle", lambda: chain(lambda: nn.ChannelShuffle(2))),
        Case(
            "chunk and concatenation (C2f)",
            lambda: Net(halves, a=conv(3, 16), b=conv(8, 8), fc=nn.Linear(16, 5)),
        ),
        Case(
            "gated linear unit by chunk",
            lambda: Net(glu, a=nn.Linear(10, 32), b=nn.Linear(16, 12), fc=nn.Linear(12, 5)),
            vector,
        ),
        Case("BatchNorm without affine", lambda: chain(lambda: nn.BatchNorm2d(16, affine=False))),
        Case("GroupNorm", lambda: chain(lambda: nn.GroupNorm(4, 16))),
        Case("GroupNorm(1)", lambda: chain(lambda: nn.GroupNorm(1, 16))),
        Case("GroupNorm without affine", lambda: chain(lambda: nn.GroupNorm(4, 16, affine=False))),
        Case("GroupNorm, one channel per group", lambda: chain(lambda: nn.GroupNorm(16, 16))),
        Case(
            "InstanceNorm, running statistics",
            lambda: chain(lambda: nn.InstanceNorm2d(16, affine=True, track_running_stats=True)),
        ),
        Case("LayerNorm", lambda: mlp(lambda: nn.LayerNorm(16)), vector, "5"),
        Case(
            "LayerNorm without affine",
            lambda: mlp(lambda: nn.LayerNorm(16, elementwise_affine=False)),
            vector,
            "5",
            shifted=True,
        ),
        Case("LayerNorm over channels and map", lambda: chain(lambda: nn.LayerNorm([16, 8, 8]))),
        Case(
            "ConvNeXt's LayerNorm, channels last",
            lambda: chain(
                lambda: Net(
                    lambda s, x: s.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
                    norm=nn.LayerNorm(16),
                )
            ),
        ),
        Case("PReLU with a weight per channel", lambda: chain(lambda: nn.PReLU(16))),
        Case(
            "parameter per channel (layer scale)",
            lambda: chain(lambda: Scaled("parameter", 1, 16, 1, 1)),
        ),
        Case("buffer per channel", lambda: chain(lambda: Scaled("buffer", 16, 1, 1))),
        Case(
            "tensor attribute per channel",
            lambda: chain(lambda: Scaled("attribute", 16, 1, 1)),
            refused="'a.0'",
        ),
        Case(
            "channels last, flattened",
            lambda: Net(
                lambda s, x: s.fc(s.h(s.a(x).permute(0, 2, 3, 1).flatten(1)).relu()),
                a=conv(3, 12),
                h=nn.Linear(768, 16),
                fc=nn.Linear(16, 5),
            ),
        ),
        Case(
            "linear layer, transposed to a neuron",
            lambda: Net(
                lambda s, x: s.fc(s.r(s.n(s.a(x).transpose(1, 2))).mean(2)),
                a=nn.Linear(6, 12),
                n=nn.BatchNorm1d(12),
                r=nn.ReLU(),
                fc=nn.Linear(12, 5),
            ),
            (7, 6),
        ),
        Case(
            "Conv1d",
            lambda: nn.Sequential(
                nn.Conv1d(6, 12, 3),
                nn.ReLU(),
                nn.AdaptiveAvgPool1d(1),
                nn.Flatten(),
                nn.Linear(12, 5),
            ),
            (6, 9),
            "4",
        ),
        Case(
            "Conv3d",
            lambda: nn.Sequential(
                nn.Conv3d(2, 12, 3),
                nn.ReLU(),
                nn.AdaptiveAvgPool3d(1),
                nn.Flatten(),
                nn.Linear(12, 5),
            ),
            (2, 5, 5, 5),
            "4",
        ),
        Case("interpolation", lambda: chain(lambda: nn.Upsample(scale_factor=2, mode="bilinear"))),
        Case("padding", lambda: chain(lambda: nn.ReflectionPad2d(1))),
        Case(
            "functional activations",
            lambda: Net(
                lambda s, x: s.fc(functional.relu(s.b(functional.relu(s.a(x))))),
                a=nn.Linear(10, 16),
                b=nn.Linear(16, 12),
                fc=nn.Linear(12, 5),
            ),
            vector,
        ),
        Case(
            "linear bottleneck without activation",
            lambda: nn.Sequential(
                nn.Linear(10, 16), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5)
            ),
            vector,
            "3",
        ),
        Case(
            "shared layer, called twice",
            lambda: Net(
                lambda s, x: s.fc(pooled(s.b(s.b(s.a(x))))),
                a=conv(3, 8),
                b=twice,
                fc=nn.Linear(8, 5),
            ),
        ),
        Case(
            "two readouts",
            lambda: Net(
                lambda s, x: s.fc(s.a(x).relu()) + 0 * s.aux(s.a(x).relu()).sum(1, keepdim=True),
                a=nn.Linear(10, 16),
                fc=nn.Linear(16, 5),
                aux=nn.Linear(16, 3),
            ),
            vector,
            options={"readout": ("fc", "aux")},
        ),
        Case(
            "einsum",
            lambda: Net(
                lambda s, x: s.fc(torch.einsum("bc,bc->bc", s.a(x).relu(), s.b(x).relu())),
                a=nn.Linear(10, 16),
                b=nn.Linear(10, 16),
                fc=nn.Linear(16, 5),
            ),
            vector,
        ),
        Case(
            "GRU behind a layer",
            lambda: Net(
                lambda s, x: s.fc(s.gru(s.a(x).relu())[0][:, -1]),
                a=nn.Linear(6, 8),
                gru=nn.GRU(8, 8, batch_first=True),
                fc=nn.Linear(8, 5),
            ),
            (7, 6),
        ),
        Case(
            "frozen layer",
            lambda: Net(
                lambda s, x: s.fc(s.b(s.a.requires_grad_(False)(x).relu()).relu()),
                a=nn.Linear(10, 16),
                b=nn.Linear(16, 12),
                fc=nn.Linear(12, 5),
            ),
            vector,
        ),
        Case("ignored layer", lambda: mlp(nn.Identity), vector, "5", options={"ignore": ["0"]}),
        Case(
            "heads of fixed size, kept",
            lambda: Transformer(nn.ReLU, Attention((-1, 4))),
            (7, 6),
            options={"ignore": ["attention.q", "attention.k", "attention.v"]},
        ),
        Case(
            "heads of fixed size and number",
            lambda: Transformer(nn.ReLU, Attention((4, 4))),
            (7, 6),
            refused="'attention.q'",
        ),
        Case(
            "mean over channels (CBAM)",
            lambda: chain(lambda: Net(lambda s, x: x * torch.sigmoid(x.mean(1, keepdim=True)))),
            refused="'mean'",
        ),
        Case(
            "softmax over units", lambda: mlp(lambda: nn.Softmax(1)), vector, "5", refused="softmax"
        ),
        Case(
            "slice of channels",
            lambda: Net(
                lambda s, x: s.fc(pooled(s.b(s.a(x)[:, :4]))),
                a=conv(3, 8),
                b=conv(4, 8),
                fc=nn.Linear(8, 5),
            ),
            refused="'a.0'",
        ),
        Case(
            "sorted units",
            lambda: mlp(lambda: Net(lambda s, x: x.sort(1)[0])),
            vector,
            "5",
            refused="'sort'",
        ),
        Case(
            "weight norm",
            lambda: Net(
                lambda s, x: s.fc(s.a(x).relu()), a=weight(nn.Linear(10, 16)), fc=nn.Linear(16, 5)
            ),
            vector,
            refused="computed",
        ),
        Case("torch.nn.utils.prune", masked, refused="computed"),
        Case("tied weights", tied, vector, "7", refused="share one weight"),
        Case(
            "lazy layer",
            lambda: nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 5)),
            vector,
            "2",
            refused="lazy",
        ),
        Case(
            "layer that is not used",
            lambda: Net(
                lambda s, x: s.fc(s.a(x).relu()),
                a=nn.Linear(10, 16),
                fc=nn.Linear(16, 5),
                spare=nn.Linear(4, 4),
            ),
            vector,
            refused="not called",
        ),
        Case("wrong input", lambda: mlp(nn.Identity), (9,), "5", refused="does not run"),
    ]


def _spiking() -> list[Case]:
    def rows_of(neuron: Activation) -> nn.Module:
        return nn.Sequential(nn.Linear(10, 16), neuron(), nn.Linear(16, 5))

    four = {"steps": 4}
    vector = (10,)
    hidden = {"init_hidden": True, "threshold": 0.3}
    return [
        Case(
            "snn.Leaky, learned threshold and leak",
            lambda: rows_of(
                lambda: snn.Leaky(0.5, learn_threshold=True, learn_beta=True, **hidden)
            ),
            vector,
            "2",
            options=four,
        ),
        Case(
            "snn.Leaky, a leak per neuron",
            lambda: rows_of(lambda: snn.Leaky(torch.rand(16), learn_beta=True, **hidden)),
            vector,
            "2",
            options=four,
        ),
        Case(
            "snn.Leaky, a threshold per neuron",
            lambda: rows_of(
                lambda: snn.Leaky(
                    0.5, init_hidden=True, threshold=torch.rand(16), learn_threshold=True
                )
            ),
            vector,
            "2",
            options=four,
        ),
        Case(
            "snn.Synaptic",
            lambda: rows_of(lambda: snn.Synaptic(0.8, 0.5, **hidden)),
            vector,
            "2",
            options=four,
        ),
        Case(
            "snn.Alpha",
            lambda: rows_of(lambda: snn.Alpha(0.8, 0.5, **hidden)),
            vector,
            "2",
            options=four,
        ),
        Case(
            "snn.Lapicque",
            lambda: rows_of(lambda: snn.Lapicque(0.5, **hidden)),
            vector,
            "2",
            options=four,
        ),
        Case(
            "snn.RLeaky, all to all",
            lambda: rows_of(lambda: snn.RLeaky(0.5, linear_features=16, **hidden)),
            vector,
            "2",
            options=four,
        ),
        Case(
            "snn.RLeaky, one to one",
            lambda: rows_of(lambda: snn.RLeaky(0.5, all_to_all=False, V=torch.rand(16), **hidden)),
            vector,
            "2",
            options=four,
        ),
        Case(
            "snn.RSynaptic",
            lambda: rows_of(lambda: snn.RSynaptic(0.8, 0.5, linear_features=16, **hidden)),
            vector,
            "2",
            options=four,
        ),
        Case("recurrent layer of its own", Recurrent, vector),
        Case("BatchNormTT2d", lambda: Timed(snn.BatchNormTT2d(12, 4)), options=four),
        Case("loop over time inside", lambda: Timed(nn.BatchNorm2d(12))),
        Case(
            "time folded into the batch",
            Multistep,
            options={"folded": True, "steps": 4, "neurons": (Steps,)},
        ),
    ]


def usual() -> list[Case]:
    """The rows of this module."""
    return [*_families(), *_parts(), *_spiking()]
