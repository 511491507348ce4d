"""The layout of taming-transformers and latent-diffusion: a Lightning .ckpt and a .yaml.

Pixels are in -1..1 in both (CompVis/taming-transformers: taming/data/base.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator
from torch import Tensor

from holohisto.config.fields import PixelRange
from holohisto.config.text_files import read_yaml
from holohisto.errors import HolohistoError
from holohisto.tokenizer.architecture import Architecture, Codes
from holohisto.tokenizer.published.strict import Levels, Options, Size, attended_levels, validated

GUMBEL = "taming.models.vqgan.GumbelVQ"
TARGETS = (
    "taming.models.vqgan.VQModel",
    "ldm.models.autoencoder.VQModel",
    "ldm.models.autoencoder.VQModelInterface",
    GUMBEL,
)
DROPPED = ("loss.", "model_ema.", "colorize")
"""Losses, averages and colours of segmentations: not part of the tokenizer."""
NORM_GROUPS = 32


def _known(target: str) -> str:
    """Return a known class; projects that carry a copy of taming put their name in front."""
    for known in TARGETS:
        if f".{target}".endswith(f".{known}"):
            return known
    raise ValueError(f"is none of {', '.join(TARGETS)}")


class DdConfig(Options):
    """Options of encoder and decoder."""

    double_z: Literal[False]
    z_channels: Size
    resolution: Size
    in_channels: Literal[3]
    out_ch: Literal[3]
    ch: Size
    ch_mult: Levels
    num_res_blocks: Size
    attn_resolutions: tuple[int, ...]
    resamp_with_conv: Literal[True] = True
    attn_type: Literal["vanilla", "none"] = "vanilla"
    use_linear_attn: Literal[False] = False
    give_pre_end: Literal[False] = False
    tanh_out: Literal[False] = False


class Params(Options):
    """Options of the autoencoder."""

    embed_dim: Size
    n_embed: Codes
    ddconfig: DdConfig
    remap: None = None


class Model(Options):
    """Class and options of the autoencoder."""

    target: Annotated[str, AfterValidator(_known)]
    params: Params


class TamingConfiguration(Options):
    """The options read from the .yaml."""

    model: Model


def configuration(path: Path) -> TamingConfiguration:
    """Read the .yaml.

    Raises:
        HolohistoError: unreadable, or its network cannot be built here.
    """
    read = validated(TamingConfiguration, read_yaml(path), path)
    options = read.model.params.ddconfig
    if options.resolution % 2 ** (len(options.ch_mult) - 1):
        raise HolohistoError(
            path,
            "model.params.ddconfig.resolution: is no multiple of f",
            found=options.resolution,
            allowed=f"multiples of {2 ** (len(options.ch_mult) - 1)}",
        )
    return read


def pixel_range(_: TamingConfiguration) -> PixelRange:
    """Return the pixel range that both train on."""
    return "-1..1"


def architecture(read: TamingConfiguration, pixels: PixelRange) -> Architecture:
    """Return the architecture of the network; its weights are read elsewhere."""
    params, options = read.model.params, read.model.params.ddconfig
    attends = options.attn_type == "vanilla"
    levels = attended_levels(options.resolution, options.attn_resolutions, len(options.ch_mult))
    return Architecture(
        channels=options.ch,
        multipliers=options.ch_mult,
        residual_blocks=options.num_res_blocks,
        codebook=params.n_embed,
        dimension=params.embed_dim,
        latent=None if options.z_channels == params.embed_dim else options.z_channels,
        attention=levels if attends else (),
        middle_attention=attends,
        norm_groups=NORM_GROUPS,
        scored=read.model.target == GUMBEL,
        pixel_range=pixels,
    )


def renamed(state: Mapping[str, Tensor], _: Architecture) -> dict[str, Tensor]:
    """Return the weights of the tokenizer itself; their names need no change."""
    return {name: weight for name, weight in state.items() if not name.startswith(DROPPED)}
