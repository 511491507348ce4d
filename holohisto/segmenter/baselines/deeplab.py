"""DeepLabV3+ (arXiv 1802.02611): atrous pyramid over a ResNet, and a decoder with one skip.

The backbone is MONAI's ResNet, whose weights have torchvision's names.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from holohisto.segmenter.holohisto.decoder import resize

RATES = (6, 12, 18)  # for features at 1/16


class Depth(NamedTuple):
    """Depths and widths of a ResNet, and widths of the decoder."""

    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    pyramid: int
    skip: int


DEPTHS = {
    "toy": Depth((1, 1, 1, 1), (8, 8, 16, 16), 16, 8),
    "resnet50": Depth((3, 4, 6, 3), (64, 128, 256, 512), 256, 48),
    "resnet101": Depth((3, 4, 23, 3), (64, 128, 256, 512), 256, 48),
}
EXPANSION = 4  # of a bottleneck's width


class DeepLabV3Plus(nn.Module):
    """From (B, 3, H, W) to logits at a quarter of the resolution."""

    def __init__(self, size: str, classes: int) -> None:
        """`size` is a key of DEPTHS."""
        super().__init__()
        depth = DEPTHS[size]
        self.backbone = atrous_resnet(depth)
        self.pyramid = Pyramid(EXPANSION * depth.widths[3], depth.pyramid)
        self.skip = _convolution(EXPANSION * depth.widths[0], depth.skip)
        self.mix = nn.Sequential(
            _separable(depth.pyramid + depth.skip, depth.pyramid),
            _separable(depth.pyramid, depth.pyramid),
        )
        self.head = nn.Conv2d(depth.pyramid, classes, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes, H/4, W/4); both sides are multiples of 16."""
        net = self.backbone
        fine = net.layer1(net.maxpool(net.act(net.bn1(net.conv1(pixels)))))  # 1/4
        coarse = self.pyramid(net.layer4(net.layer3(net.layer2(fine))))  # 1/16
        both = torch.cat([resize(coarse, fine.shape[2:]), self.skip(fine)], dim=1)
        return self.head(self.mix(both))


class Pyramid(nn.Module):
    """Context of several widths side by side: 1x1, three atrous 3x3, and the whole tile."""

    def __init__(self, cin: int, cout: int) -> None:
        """`cout` channels each and in the end."""
        super().__init__()
        self.branches = nn.ModuleList(
            [_convolution(cin, cout), *(_separable(cin, cout, rate) for rate in RATES)]
        )
        # Without a norm: over a single tile there is a single value per channel and no variance.
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(cin, cout, 1), nn.ReLU())
        self.join = nn.Sequential(_convolution((len(RATES) + 2) * cout, cout), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, h, w) -> (B, cout, h, w)."""
        whole_tile = self.pool(x).expand(-1, -1, *x.shape[2:])
        return self.join(torch.cat([*(branch(x) for branch in self.branches), whole_tile], dim=1))


def atrous_resnet(depth: Depth) -> Any:
    """Build a ResNet of bottlenecks whose last stage stays at 1/16 and is dilated instead."""
    from monai.networks.nets.resnet import ResNet

    network = ResNet(
        "bottleneck",
        list(depth.blocks),
        list(depth.widths),
        spatial_dims=2,
        conv1_t_stride=2,
        feed_forward=False,
        bias_downsample=False,
    )
    for index, block in enumerate(network.layer4):
        for layer in block.modules():
            if isinstance(layer, nn.Conv2d):
                layer.stride = (1, 1)
                if layer.kernel_size == (3, 3) and index > 0:
                    layer.dilation = layer.padding = (2, 2)
    return network


def _convolution(cin: int, cout: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(cin, cout, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


def _separable(cin: int, cout: int, rate: int = 1) -> nn.Module:
    """Atrous depthwise 3x3, then pointwise."""
    return nn.Sequential(
        nn.Conv2d(cin, cin, 3, padding=rate, dilation=rate, groups=cin, bias=False),
        nn.BatchNorm2d(cin),
        nn.ReLU(),
        *_convolution(cin, cout).children(),
    )
