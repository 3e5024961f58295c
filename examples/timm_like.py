"""An artificial network in the style of timm: inverted residuals with squeeze-excite.

``factory: timm:create_model`` builds a model of timm itself in the same way, with
``options: {model_name: mobilenetv3_small_050, num_classes: 10}``.
"""

from __future__ import annotations

from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """A gate for each channel, from the means of all channels.

    Parameters
    ----------
    width, hidden
        Channels, and channels between the two layers of the gate.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.reduce, self.act = nn.Conv2d(width, hidden, 1), nn.ReLU()
        self.expand, self.gate = nn.Conv2d(hidden, width, 1), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated maps [B, C, H, W]."""
        y = self.act(self.reduce(x.mean((2, 3), keepdim=True)))
        gated: Tensor = x * self.gate(self.expand(y))
        return gated


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, squeeze-excite and linear projection, with a shortcut.

    Parameters
    ----------
    width, factor
        Channels, and factor of the expansion.
    """

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        wide = width * factor
        self.expand = _layer(width, wide, 1)
        self.depthwise = _layer(wide, wide, 3, groups=wide)
        self.excite = SqueezeExcite(wide, 8)
        self.project = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the same shape."""
        y: Tensor = x + self.project(self.excite(self.depthwise(self.expand(x))))
        return y


def _layer(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def network(
    channels: int = 1, classes: int = 10, width: int = 12, blocks: int = 2, factor: int = 3
) -> nn.Module:
    """Build the network.

    Parameters
    ----------
    channels, classes, width, blocks, factor
        Input channels, number of classes, channels, blocks, and factor of the expansion.
    """
    return nn.Sequential(
        _layer(channels, width, 3),
        *(InvertedResidual(width, factor) for _ in range(blocks)),
        nn.MaxPool2d(2),
        _layer(width, 2 * width, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, classes),
    )
