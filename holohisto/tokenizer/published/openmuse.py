"""The layout of openMUSE, which LVM uses: config.json and pytorch_model.bin, taming's names.

Pixels are in 0..1 (huggingface/open-muse: training/data.py; ytongbai/LVM: vqlm_demo/utils.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import model_validator
from torch import Tensor

from holohisto.config.fields import PixelRange
from holohisto.config.text_files import read_json
from holohisto.tokenizer.architecture import Architecture, Codes
from holohisto.tokenizer.published.strict import Levels, Options, Size, attended_levels, validated

NORM_GROUPS = 32


class OpenMuseConfiguration(Options):
    """Options of `VQGANModel`, with the defaults of its class (muse/modeling_taming_vqgan.py)."""

    resolution: Size = 256
    num_channels: Literal[3] = 3
    hidden_channels: Size = 128
    channel_mult: Levels = (1, 1, 2, 2, 4)
    num_res_blocks: Size = 2
    attn_resolutions: tuple[int, ...] = (16,)
    no_attn_mid_block: bool = False
    z_channels: Size = 256
    num_embeddings: Codes = 1024
    quantized_embed_dim: Size = 256
    resample_with_conv: Literal[True] = True
    decoder_hidden_channels: None = None
    decoder_channel_mult: None = None
    decoder_res_blocks: None = None
    extra_mid_res_blocks: None = None

    @property
    def attention(self) -> tuple[int, ...]:
        """Levels with attention."""
        return attended_levels(self.resolution, self.attn_resolutions, len(self.channel_mult))

    @model_validator(mode="after")
    def _ours(self) -> "OpenMuseConfiguration":
        if self.resolution % 2 ** (len(self.channel_mult) - 1):
            raise ValueError(f"resolution {self.resolution} is no multiple of f")
        if self.attention and self.num_res_blocks == 1:
            # openMUSE skips the attention of a level with a single block.
            raise ValueError("num_res_blocks 1 with attn_resolutions is not supported")
        return self


def configuration(path: Path) -> OpenMuseConfiguration:
    """Read config.json.

    Raises:
        HolohistoError: unreadable, or its network cannot be built here.
    """
    return validated(OpenMuseConfiguration, read_json(path), path)


def pixel_range(_: OpenMuseConfiguration) -> PixelRange:
    """Return the pixel range that it trains on."""
    return "0..1"


def architecture(read: OpenMuseConfiguration, pixels: PixelRange) -> Architecture:
    """Return the architecture of the network; its weights are read elsewhere."""
    equal = read.z_channels == read.quantized_embed_dim
    return Architecture(
        channels=read.hidden_channels,
        multipliers=read.channel_mult,
        residual_blocks=read.num_res_blocks,
        codebook=read.num_embeddings,
        dimension=read.quantized_embed_dim,
        latent=None if equal else read.z_channels,
        attention=read.attention,
        middle_attention=not read.no_attn_mid_block,
        norm_groups=NORM_GROUPS,
        pixel_range=pixels,
    )


def renamed(state: Mapping[str, Tensor], _: Architecture) -> dict[str, Tensor]:
    """Return the weights unchanged: their names are taming's."""
    return dict(state)
