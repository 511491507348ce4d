"""The networks of Table 1, from normalised pixels to logits, and the tile sizes they accept.

MONAI and transformers are imported where they are used: they take seconds to load, and most
segmenters need only one of them or none. Nothing here reads or downloads a file.
"""

from torch import Tensor, nn

from holohisto.config.models import (
    DeeplabModel,
    DynunetModel,
    PixelOptions,
    SegformerModel,
    SwinunetrModel,
    UnetModel,
    UnetrModel,
)
from holohisto.segmenter.baselines.deeplab import DeepLabV3Plus
from holohisto.segmenter.baselines.dynunet import NnunetNetwork
from holohisto.segmenter.baselines.sam import SamSegmenter
from holohisto.segmenter.sides import Sides
from holohisto.tiles.grid import whole

PATCH = 16  # side of a transformer's token, pixels


def build(options: PixelOptions, classes: int) -> tuple[nn.Module, Sides]:
    """Build a network with random weights.

    Returns:
        The network, from (B, 3, H, W) float to logits (B, classes, h, w) of the same field of view
        at any resolution; and the sides H and W it takes.
    """
    match options:
        case UnetModel():
            return _unet(options, classes)
        case DynunetModel():
            return _dynunet(options, classes)
        case UnetrModel():
            return _unetr(options, classes)
        case SwinunetrModel():
            return _swinunetr(options, classes)
        case SegformerModel():
            return _segformer(options, classes)
        case DeeplabModel():
            return DeepLabV3Plus(options.size, classes), Sides(16)
    side = max(whole(options.tile, PATCH))
    return SamSegmenter(options.kind, options.size, side, classes), Sides(fixed=(side, side))


def _unet(options: UnetModel, classes: int) -> tuple[nn.Module, Sides]:
    from monai.networks.nets.unet import UNet

    halvings = len(options.channels) - 1
    network = UNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=classes,
        channels=options.channels,
        strides=(2,) * halvings,
        num_res_units=2,
    )
    return network, Sides(2**halvings)


def _dynunet(options: DynunetModel, classes: int) -> tuple[nn.Module, Sides]:
    network = NnunetNetwork(options.channels, classes)
    return network, Sides(2 ** (len(options.channels) - 1))


def _unetr(options: UnetrModel, classes: int) -> tuple[nn.Module, Sides]:
    from monai.networks.nets.unetr import UNETR

    size = whole(options.tile, PATCH)
    widths = {"full": (768, 12, 16), "toy": (48, 3, 4)}
    hidden, heads, features = widths[options.size]
    network = UNETR(
        in_channels=3,
        out_channels=classes,
        img_size=(size[1], size[0]),
        feature_size=features,
        hidden_size=hidden,
        mlp_dim=4 * hidden,
        num_heads=heads,
        spatial_dims=2,
    )
    for block in network.vit.blocks:
        block.norm_cross_attn.requires_grad_(False)  # there, but never used
    return network, Sides(fixed=size)


def _swinunetr(options: SwinunetrModel, classes: int) -> tuple[nn.Module, Sides]:
    from monai.networks.nets.swin_unetr import SwinUNETR

    network = SwinUNETR(
        in_channels=3,
        out_channels=classes,
        feature_size=options.channels,
        use_v2=True,
        spatial_dims=2,
    )
    return network, Sides(32)


MIX_TRANSFORMERS = {
    "toy": ((8, 16, 24, 32), (1, 1, 1, 1), 32),
    "tiny": ((16, 32, 80, 128), (2, 2, 2, 2), 64),
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3), 768),
}
"""Widths and depths of the stages and width of the decoder; b0 to b5 are those of arXiv 2105.15203,
Table 6, and tiny is b0 at half of its widths."""


def _segformer(options: SegformerModel, classes: int) -> tuple[nn.Module, Sides]:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    widths, depths, decoder = MIX_TRANSFORMERS[options.size]
    layout = SegformerConfig(hidden_sizes=widths, depths=depths, decoder_hidden_size=decoder)
    layout.num_labels = classes
    return Logits(SegformerForSemanticSegmentation(layout)), Sides(32)


class Logits(nn.Module):
    """Returns only the logits of a network of transformers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes, h, w)."""
        return self.network(pixels).logits
