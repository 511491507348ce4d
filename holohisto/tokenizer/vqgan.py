"""The VQGAN: taming-transformers' encoder and decoder, a codebook, frozen normalisation."""

from torch import Tensor, nn
from torch.nn import functional

from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.codebook import Codebook, ProjectedCodebook, ScalarCodebook
from holohisto.tokenizer.layers import VQGANDecoder, VQGANEncoder
from holohisto.tokenizer.norm import FreezableNorm, Statistics

USAGE = ("usage", "order_z")
"""What is known only of the codes of a tokenizer that was trained here."""
RESOLUTION = 256
"""Side of the squares that published VQGANs were trained on."""


class VQGAN(nn.Module):
    """Encoder, codebook and decoder over RGB tiles.

    The parameter names are those of taming-transformers (arXiv 2012.09841). Tokenizers trained here
    have no attention, so that a token depends on its neighbourhood alone; published ones may have.

    Attributes:
        usage: (codebook,) float32, share of each code in the training tissue; None where it is
            unknown.
        order_z: () float32, by how many standard errors another order of the colours is more usual
            than a training slide's own, at most; None where it is unknown.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        latent = architecture.latent or architecture.dimension
        self.encoder = VQGANEncoder(architecture)
        self.decoder = VQGANDecoder(architecture)
        self.quant_conv = nn.Conv2d(latent, architecture.dimension, 1)
        self.post_quant_conv = nn.Conv2d(architecture.dimension, latent, 1)
        self.latent_norm: nn.Module = nn.Identity()
        self.quantize: Codebook | ProjectedCodebook | ScalarCodebook
        if architecture.levels is not None:
            self.quantize = ScalarCodebook(architecture.levels)
            # Each dimension with mean 0 and variance 1, so that all of its levels are in use.
            self.latent_norm = FreezableNorm(architecture.dimension, architecture.dimension)
            self.latent_norm.requires_grad_(False)
        else:
            codebook = ProjectedCodebook if architecture.scored else Codebook
            self.quantize = codebook(architecture.codebook, architecture.dimension)

        self.usage: Tensor | None
        self.order_z: Tensor | None
        for known in USAGE:
            self.register_buffer(known, None)

    @property
    def norms(self) -> list[FreezableNorm]:
        """The encoder's normalisation layers, in the order of the data."""
        layers = (*self.encoder.modules(), self.latent_norm)
        return [layer for layer in layers if isinstance(layer, FreezableNorm)]

    def use(self, statistics: Statistics) -> None:
        """Set by whose statistics the encoder normalises."""
        for norm in self.norms:
            norm.statistics = statistics

    def pixels(self, rgb: Tensor) -> Tensor:
        """Bring uint8 (B, 3, H, W) into the range the network was trained on."""
        scaled = rgb.float() / 255
        return scaled if self.architecture.pixel_range == "0..1" else scaled * 2 - 1

    def shallow(self, x: Tensor) -> Tensor:
        """First phase: (B, 3, H, W) -> features at a quarter of the size, (B, C, H/4, W/4)."""
        return self.encoder.shallow(x)

    def deep(self, features: Tensor) -> Tensor:
        """Second phase: features of `shallow` -> latents (B, H/f, W/f, d)."""
        latents = self.quant_conv(self.encoder.deep(features))
        return self.latent_norm(latents).permute(0, 2, 3, 1)

    def latents(self, x: Tensor) -> Tensor:
        """Encode (B, 3, H, W) into latents (B, H/f, W/f, d), before quantising."""
        return self.deep(self.shallow(x))

    def tokens(self, rgb: Tensor) -> Tensor:
        """Return the tokens (B, H/f, W/f) int64 of uint8 (B, 3, H, W)."""
        return self.quantize.assign(self.latents(self.pixels(rgb)))

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, h, w, d) into pixels (B, 3, h*f, w*f) in the network's range."""
        return self.decoder(self.post_quant_conv(codes.permute(0, 3, 1, 2)))

    def reconstruct(self, rgb: Tensor) -> Tensor:
        """Encode, quantise and decode uint8 (B, 3, H, W) to uint8 of the same shape."""
        return self.picture(self.tokens(rgb))

    def picture(self, tokens: Tensor) -> Tensor:
        """Decode tokens (B, h, w) to uint8 (B, 3, h*f, w*f)."""
        out = self.decode(functional.embedding(tokens, self.quantize.codes))
        if self.architecture.pixel_range == "-1..1":
            out = (out + 1) / 2
        return (out.clamp(0, 1) * 255).round().byte()
