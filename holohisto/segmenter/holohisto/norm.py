"""The norm of all layers of the method's segmenter."""

from torch import nn


def norm(channels: int) -> nn.Module:
    """Return a new norm for (B, channels, H, W): batch norm, as in EfficientViT.

    Its statistics are those of the tiles that are computed together: of a micro-batch, on all
    ranks.
    """
    return nn.BatchNorm2d(channels)
