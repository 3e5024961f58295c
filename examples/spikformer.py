"""A small Spikformer: self-attention of spikes without softmax (Zhou et al., arXiv 2209.15425)."""

from __future__ import annotations

from torch import Tensor, nn

from examples.neurons import Folded


class Spikes(nn.Module):
    """A linear layer on tokens, batch norm, and spikes.

    Parameters
    ----------
    inputs, outputs, steps
        Features before and behind, and time steps.
    """

    def __init__(self, inputs: int, outputs: int, steps: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm, self.node = nn.BatchNorm1d(outputs), Folded(steps)

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T * B, N, outputs] of [T * B, N, inputs]."""
        y = self.norm(self.linear(x).transpose(1, 2)).transpose(1, 2)
        spikes: Tensor = self.node(y)
        return spikes


class Attention(nn.Module):
    """Spiking self-attention: spikes of (q k' v) / 4, and a projection.

    Parameters
    ----------
    width, heads, steps
        Features of a token, attention heads, and time steps.
    """

    def __init__(self, width: int, heads: int, steps: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (Spikes(width, width, steps) for _ in range(3))
        self.node = Folded(steps)
        self.out = Spikes(width, width, steps)

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T * B, N, width]."""
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        y = (q @ k.transpose(-2, -1) @ v) / 4
        spikes: Tensor = self.out(self.node(y.transpose(1, 2).flatten(2)))
        return spikes


class Spikformer(nn.Module):
    """Patches, one block of attention and a multilayer perceptron, and a readout.

    Parameters
    ----------
    channels, classes, width, heads, steps
        Input channels, number of classes, features of a token, attention heads, and time steps.
    """

    def __init__(self, channels: int, classes: int, width: int, heads: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.patch = nn.Conv2d(channels, width, 2, 2, bias=False)
        self.norm, self.node = nn.BatchNorm2d(width), Folded(steps)
        self.attention = Attention(width, heads, steps)
        self.up, self.down = Spikes(width, 2 * width, steps), Spikes(2 * width, width, steps)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores [T, B, classes] of images [B, C, H, W]."""
        x = self.norm(self.patch(x))
        x = self.node(x.expand(self.steps, *x.shape).flatten(0, 1))
        x = x.flatten(2).transpose(1, 2)  # tokens [T * B, N, width]
        x = x + self.attention(x)
        x = x + self.down(self.up(x))
        scores: Tensor = self.head(x.mean(1)).unflatten(0, (self.steps, -1))
        return scores


def network(
    channels: int = 1, classes: int = 10, width: int = 32, heads: int = 4, steps: int = 4
) -> nn.Module:
    """Build the network; see `Spikformer`."""
    return Spikformer(channels, classes, width, heads, steps)
