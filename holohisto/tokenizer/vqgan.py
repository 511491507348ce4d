"""The VQGAN: taming-transformers' encoder and decoder, a codebook, frozen normalisation."""

import contextlib
import io
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from taming.modules.diffusionmodules import model as taming
from torch import Tensor, nn
from torch.nn import functional

from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.attention import ChunkedAttention
from holohisto.tokenizer.codebook import Codebook, ProjectedCodebook
from holohisto.tokenizer.norm import FreezableNorm

RESOLUTION = 256
"""Side of the squares that published VQGANs were trained on."""


class VQGAN(nn.Module):
    """Encoder, codebook and decoder over RGB tiles.

    The parameter names are those of taming-transformers (arXiv 2012.09841). What we train has no
    attention, so that a token depends on its neighbourhood alone; published ones may have.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Build with random weights and native normalisation."""
        super().__init__()
        self.architecture = architecture
        self.calibrated = False
        """Whether the statistics to freeze at are those of training tissue."""
        a = architecture
        latent = a.latent or a.dimension
        options: dict[str, Any] = {
            "ch": a.channels,
            "out_ch": 3,
            "ch_mult": a.multipliers,
            "in_channels": 3,
            "num_res_blocks": a.residual_blocks,
            "resolution": RESOLUTION,
            "attn_resolutions": [RESOLUTION // 2**level for level in a.attention],
            "z_channels": latent,
            "double_z": False,
        }
        with _our_layers(a.norm_groups):
            self.encoder = taming.Encoder(**options)
            self.decoder = taming.Decoder(**options)
        if not a.middle_attention:
            self.encoder.mid.attn_1 = nn.Identity()
            self.decoder.mid.attn_1 = nn.Identity()
        self.quant_conv = nn.Conv2d(latent, a.dimension, 1)
        self.post_quant_conv = nn.Conv2d(a.dimension, latent, 1)
        codebook = ProjectedCodebook if a.scored else Codebook
        self.quantize = codebook(a.codebook, a.dimension)

    @property
    def norms(self) -> list[FreezableNorm]:
        """The encoder's normalisation layers, in the order of the data."""
        return [m for m in self.encoder.modules() if isinstance(m, FreezableNorm)]

    def freeze(self, frozen: bool = True) -> None:
        """Use the stored statistics (frozen) or each input's own (native) in the encoder."""
        for norm in self.norms:
            norm.frozen = frozen

    def pixels(self, rgb: Tensor) -> Tensor:
        """Bring uint8 (B, 3, H, W) into the range the network was trained on."""
        scaled = rgb.float() / 255
        return scaled if self.architecture.pixel_range == "0..1" else scaled * 2 - 1

    def shallow(self, x: Tensor) -> Tensor:
        """First phase: (B, 3, H, W) -> features at a quarter of the size, (B, C, H/4, W/4)."""
        encoder: Any = self.encoder
        return self._levels(encoder.conv_in(x), range(self.architecture.shallow_levels))

    def deep(self, features: Tensor) -> Tensor:
        """Second phase: features of `shallow` -> latents (B, H/f, W/f, d)."""
        encoder: Any = self.encoder
        levels = range(self.architecture.shallow_levels, encoder.num_resolutions)
        h = self._levels(features, levels)
        h = encoder.mid.attn_1(encoder.mid.block_1(h, None))
        h = encoder.mid.block_2(h, None)
        h = encoder.conv_out(functional.silu(encoder.norm_out(h)))
        return self.quant_conv(h).permute(0, 2, 3, 1)

    def latents(self, x: Tensor) -> Tensor:
        """Encode (B, 3, H, W) into latents (B, H/f, W/f, d), before quantising."""
        return self.deep(self.shallow(x))

    def _levels(self, h: Tensor, levels: range) -> Tensor:
        """Run some of the encoder's levels, each but the last ending in a downsampling."""
        encoder: Any = self.encoder
        for level in levels:
            down = encoder.down[level]
            for place, block in enumerate(down.block):
                h = block(h, None)
                if level in self.architecture.attention:
                    h = down.attn[place](h)
            if level != encoder.num_resolutions - 1:
                h = down.downsample(h)
        return h

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


class LeanBlock(taming.ResnetBlock):
    """taming's residual block; outside training it overwrites what is no longer needed."""

    def forward(self, x: Tensor, temb: None = None) -> Tensor:
        """Add two normalised convolutions to (B, C, H, W)."""
        lean = not torch.is_grad_enabled()
        h = self.conv1(functional.silu(self.norm1(x), inplace=lean))
        h = self.conv2(functional.silu(self.norm2(h), inplace=lean))
        if self.in_channels != self.out_channels:
            x = self.nin_shortcut(x)
        return h.add_(x) if lean else h + x


@contextlib.contextmanager
def _our_layers(norm_groups: int | None) -> Iterator[None]:
    """Let taming build with layers of our own, without its message on stdout."""
    with (
        patch.object(taming, "Normalize", partial(FreezableNorm, groups=norm_groups)),
        patch.object(taming, "ResnetBlock", LeanBlock),
        patch.object(taming, "AttnBlock", partial(ChunkedAttention, norm_groups=norm_groups)),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        yield
