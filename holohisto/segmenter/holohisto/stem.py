"""Features of the pixels for the decoder, so that edges are crisp."""

from torch import Tensor, nn

from holohisto.segmenter.holohisto.backbone import Size
from holohisto.segmenter.holohisto.block import FusedMBConv, convolution


class Stem(nn.Module):
    """Small convolutional features at strides 2, 4 and 8, widening as the resolution is halved.

    Only the decoder reads them: which class a place has is left to the backbone's context, and the
    pixels, seen through these few layers' small kernels, place its border.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        s2, s4, s8 = size.stem
        self.at2 = convolution(3, s2, 2)
        self.at4 = nn.Sequential(convolution(s2, s4, 2), FusedMBConv(s4))
        self.at8 = nn.Sequential(convolution(s4, s8, 2), FusedMBConv(s8))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> (B, size.stem[k], H / 2^(k+1), W / 2^(k+1)) for k = 0, 1, 2."""
        fine = self.at2(pixels)
        middle = self.at4(fine)
        return [fine, middle, self.at8(middle)]
