"""A small SEW-ResNet: spike-element-wise residual blocks with ADD (Fang et al., arXiv 2102.04159).

It takes a static batch, repeats it over time, and folds time into the batch for layers of weights,
as networks of SpikingJelly do in the step mode ``m``.
"""

from __future__ import annotations

from torch import Tensor, nn

from examples.neurons import Folded


class Block(nn.Module):
    """Two convolutions with spikes behind each; the input is added to the spikes of the second.

    Parameters
    ----------
    inputs, outputs, stride
        Channels, and stride of the first convolution.
    steps
        Time steps.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, steps: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1, self.node1 = nn.BatchNorm2d(outputs), Folded(steps)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2, self.node2 = nn.BatchNorm2d(outputs), Folded(steps)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
                Folded(steps),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of spikes, [T * B, C, H, W]."""
        y = self.node1(self.norm1(self.conv1(x)))
        y = self.node2(self.norm2(self.conv2(y)))
        total: Tensor = y + self.shortcut(x)
        return total


class SEWResNet(nn.Module):
    """Stem, three blocks, global average pooling and a readout.

    Parameters
    ----------
    channels, classes, width, steps
        Input channels, number of classes, channels of the first block, and time steps.
    """

    def __init__(self, channels: int, classes: int, width: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm, self.node = nn.BatchNorm2d(width), Folded(steps)
        self.blocks = nn.Sequential(
            Block(width, width, 1, steps),
            Block(width, 2 * width, 2, steps),
            Block(2 * width, 2 * width, 1, steps),
        )
        self.fc = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores [T, B, classes] of images [B, C, H, W]."""
        x = self.norm(self.stem(x))
        x = x.expand(self.steps, *x.shape).flatten(0, 1)
        x = self.blocks(self.node(x)).mean((2, 3))
        scores: Tensor = self.fc(x).unflatten(0, (self.steps, -1))
        return scores


def network(channels: int = 1, classes: int = 10, width: int = 8, steps: int = 4) -> nn.Module:
    """Build the network; see `SEWResNet`."""
    return SEWResNet(channels, classes, width, steps)
