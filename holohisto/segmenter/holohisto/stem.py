"""Features of the pixels, for the backbone (beside the tokens) and for the decoder (edges)."""

from torch import Tensor, nn

from holohisto.segmenter.holohisto.backbone import Size
from holohisto.segmenter.holohisto.block import FusedMBConv, convolution


class Stem(nn.Module):
    """Halves the resolution down to the tokens' (f = 8 at least), widening as it goes.

    A token names the most similar of K codes; the stem adds what the codes do not hold: fine
    structure, and colours that the codebook has never seen.
    """

    def __init__(self, size: Size, downscale: int) -> None:
        """Build for tokens of `downscale` pixels a side, a power of two."""
        super().__init__()
        s2, s4, s8 = size.stem
        self.at2 = convolution(3, s2, 2)
        self.at4 = nn.Sequential(convolution(s2, s4, 2), FusedMBConv(s4))
        self.at8 = nn.Sequential(convolution(s4, s8, 2), FusedMBConv(s8))
        deeper, width, stride = [], s8, 8
        while stride < downscale:
            deeper += [convolution(width, size.stage1, 2), FusedMBConv(size.stage1)]
            width, stride = size.stage1, 2 * stride
        self.deeper = nn.Sequential(*deeper)
        self.out = nn.Conv2d(width, size.stage1, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> features at strides 2, 4 and 8, and (B, stage1, H/f, W/f)."""
        fine = self.at2(pixels)
        middle = self.at4(fine)
        coarse = self.at8(middle)
        return fine, middle, coarse, self.out(self.deeper(coarse))
