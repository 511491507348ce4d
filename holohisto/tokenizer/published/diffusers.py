"""The layout of diffusers' VQModel: config.json and diffusion_pytorch_model.safetensors or .bin.

Names as in huggingface/diffusers: scripts/convert_amused.py; older files name attention otherwise.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import model_validator
from torch import Tensor

from holohisto.config.fields import PixelRange
from holohisto.config.text_files import read_json
from holohisto.tokenizer.architecture import Architecture, Codes
from holohisto.tokenizer.published.strict import Levels, Options, Size, validated

DOWN_ATTENDED, UP_ATTENDED = "AttnDownEncoderBlock2D", "AttnUpDecoderBlock2D"
RENAMES = (
    (r"\bdown_blocks\.", "down."),
    (r"\bmid_block\.attentions\.0\.", "mid.attn_1."),
    (r"\bmid_block\.resnets\.0\.", "mid.block_1."),
    (r"\bmid_block\.resnets\.1\.", "mid.block_2."),
    (r"\bresnets\.", "block."),
    (r"\battentions\.", "attn."),
    (r"\bdownsamplers\.0\.", "downsample."),
    (r"\bupsamplers\.0\.", "upsample."),
    (r"\bconv_shortcut\.", "nin_shortcut."),
    (r"\bconv_norm_out\.", "norm_out."),
    (r"\bgroup_norm\.", "norm."),
    (r"\b(to_q|query)\.", "q."),
    (r"\b(to_k|key)\.", "k."),
    (r"\b(to_v|value)\.", "v."),
    (r"\b(to_out\.0|proj_attn)\.", "proj_out."),
)
"""Patterns in names of diffusers, and the names of taming that replace them."""
LINEAR = re.compile(r"\.(q|k|v|proj_out)\.weight$")


class DiffusersConfiguration(Options):
    """Options of `VQModel`, with the defaults of its class."""

    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    down_block_types: tuple[Literal["DownEncoderBlock2D", "AttnDownEncoderBlock2D"], ...]
    up_block_types: tuple[Literal["UpDecoderBlock2D", "AttnUpDecoderBlock2D"], ...]
    block_out_channels: Levels
    layers_per_block: Size = 1
    act_fn: Literal["silu", "swish"] = "silu"
    latent_channels: Size = 3
    num_vq_embeddings: Codes = 256
    norm_num_groups: Size = 32
    vq_embed_dim: Size | None = None
    norm_type: Literal["group"] = "group"
    mid_block_add_attention: bool = True
    lookup_from_codebook: bool = False

    @model_validator(mode="after")
    def _ours(self) -> "DiffusersConfiguration":
        down = [kind == DOWN_ATTENDED for kind in self.down_block_types]
        up = [kind == UP_ATTENDED for kind in reversed(self.up_block_types)]
        if not len(down) == len(up) == len(self.block_out_channels):
            raise ValueError("block_out_channels and the block types differ in their number")
        if down != up:
            raise ValueError("up_block_types must have attention where down_block_types have it")
        if any(width % self.block_out_channels[0] for width in self.block_out_channels):
            raise ValueError("block_out_channels must be multiples of the first")
        return self


def configuration(path: Path) -> DiffusersConfiguration:
    """Read config.json.

    Raises:
        HolohistoError: unreadable, or its network cannot be built here.
    """
    return validated(DiffusersConfiguration, read_json(path), path)


def pixel_range(read: DiffusersConfiguration) -> PixelRange | None:
    """Return the pixel range if the file determines it, else None.

    `lookup_from_codebook` came with aMUSEd, which trains on 0..1. Without it both ranges occur:
    networks converted from taming or latent-diffusion have -1..1, and diffusers' own example trains
    on 0..1.
    """
    return "0..1" if read.lookup_from_codebook else None


def architecture(read: DiffusersConfiguration, pixels: PixelRange) -> Architecture:
    """Return the architecture of the network; its weights are read elsewhere."""
    first = read.block_out_channels[0]
    dimension = read.vq_embed_dim or read.latent_channels
    return Architecture(
        channels=first,
        multipliers=tuple(width // first for width in read.block_out_channels),
        residual_blocks=read.layers_per_block,
        codebook=read.num_vq_embeddings,
        dimension=dimension,
        latent=None if read.latent_channels == dimension else read.latent_channels,
        attention=tuple(i for i, kind in enumerate(read.down_block_types) if kind == DOWN_ATTENDED),
        middle_attention=read.mid_block_add_attention,
        norm_groups=read.norm_num_groups,
        pixel_range=pixels,
    )


def renamed(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Return weights under taming's names, linear layers of attention as 1x1 convolutions."""
    last = len(architecture.multipliers) - 1
    weights = {}
    for old, weight in state.items():
        name = re.sub(r"\bup_blocks\.(\d+)\.", lambda m: f"up.{last - int(m[1])}.", old)
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        if LINEAR.search(name) and weight.ndim == 2:
            weight = weight[:, :, None, None]
        # A second name for the same weight is kept, to be refused as unknown.
        weights[f"{name} as {old}" if name in weights else name] = weight
    return weights
