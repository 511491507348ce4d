"""The VQGAN: taming-transformers' encoder and decoder, a codebook, frozen normalisation."""

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from unittest.mock import patch

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from taming.modules.diffusionmodules import model as taming
from torch import Tensor, nn
from torch.nn import functional

from holohisto import atomic
from holohisto.chunked_attention import ChunkedAttention
from holohisto.codebook import Codebook, ProjectedCodebook
from holohisto.errors import HolohistoError
from holohisto.frozen_norm import FreezableNorm

FORMAT = "holohisto-tokenizer-2"
SHALLOW = 2
"""Levels of the encoder that are its first phase: full and half resolution, most of the work."""
RESOLUTION = 256
"""Side of the squares that published VQGANs were trained on."""


Codes = Annotated[int, Field(ge=2, le=65_536)]
"""Number of codes; a token is stored in 16 bits."""


class Architecture(BaseModel):
    """What it takes to build a VQGAN; stored in the header of its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int
    multipliers: tuple[int, ...]
    residual_blocks: int
    codebook: Codes
    dimension: int
    """Length of a code."""
    latent: int | None = None
    """Channels that the encoder ends with, brought to `dimension` by a 1x1; None: equally many."""
    attention: tuple[int, ...] = ()
    """Levels with attention after each residual block, from 0."""
    middle_attention: bool = False
    norm_groups: int | None = None
    """Groups of every normalisation; None: as FreezableNorm."""
    scored: bool = False
    """Tokens by a score (Gumbel VQGAN) instead of the nearest code."""
    pixel_range: Literal["-1..1", "0..1"] = "-1..1"

    @property
    def downscale(self) -> int:
        """Side of the block of pixels that becomes one token (f)."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def local(self) -> bool:
        """Whether a token depends on its neighbourhood alone, once statistics are frozen."""
        return not (self.attention or self.middle_attention)

    @property
    def shallow_levels(self) -> int:
        """Levels of the encoder's first phase."""
        return min(SHALLOW, len(self.multipliers) - 1)

    @property
    def shallow_reach(self) -> int:
        """Pixels beyond its own block that a feature of the first phase depends on."""
        return self._reach(self.shallow_levels)

    @property
    def reach(self) -> int:
        """Pixels beyond its own block that a token depends on, to the right and below.

        To the left and above it is less: downsampling pads on one side only.
        """
        levels = len(self.multipliers) - 1
        last_level = 2 * self.residual_blocks * 2**levels
        middle_and_end = 5 * 2**levels
        return self._reach(levels) + last_level + middle_and_end

    @property
    def halo(self) -> int:
        """Context, in whole tokens, under which tokens do not depend on the tiling; in pixels."""
        return -(-self.reach // self.downscale) * self.downscale

    def _reach(self, levels: int) -> int:
        """Pixels seen beyond its own block by what leaves a number of levels, downsampled."""
        residual = 2 * self.residual_blocks * (2**levels - 1)
        downsampling = 2**levels - 1
        return 1 + residual + downsampling


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
            "ch": a.channels, "out_ch": 3, "ch_mult": a.multipliers, "in_channels": 3,
            "num_res_blocks": a.residual_blocks, "resolution": RESOLUTION,
            "attn_resolutions": [RESOLUTION // 2**level for level in a.attention],
            "z_channels": latent, "double_z": False,
        }  # fmt: skip
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


def digest(model: VQGAN) -> str:
    """Return the sha256 of all that decides tokens: architecture, encoder, statistics, codes."""
    architecture = model.architecture.model_dump_json(exclude_defaults=True)
    sha = hashlib.sha256(architecture.encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(("decoder.", "post_quant_conv.")):
            sha.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def save(model: VQGAN, path: Path, summary: dict[str, Any]) -> None:
    """Write the tokenizer file, atomically; `summary` tells where it comes from."""
    header = {
        "format": FORMAT,
        "architecture": model.architecture.model_dump_json(),
        "digest": digest(model),
        "calibrated": json.dumps(model.calibrated),
        "summary": json.dumps(summary),
    }
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    with atomic.replacing(path) as temporary:
        save_file(state, temporary, metadata=header)


def load(path: Path) -> VQGAN:
    """Read a tokenizer file in evaluation state, frozen if it was calibrated, else native.

    Raises:
        HolohistoError: not such a file, or its weights are not those its header promises.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise HolohistoError(
                    path, "is not a HoloHisto tokenizer",
                    found=header.get("format", "no format in the header"), allowed=FORMAT,
                )  # fmt: skip
            model = VQGAN(Architecture.model_validate_json(header["architecture"]))
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, ValidationError, RuntimeError) as error:
        raise HolohistoError(path, f"tokenizer cannot be read: {error}") from error
    if digest(model) != header.get("digest"):
        raise HolohistoError(path, "tokenizer is damaged: its weights do not match its digest")
    model.calibrated = header.get("calibrated") == "true"
    model.freeze(model.calibrated)
    return model.eval().requires_grad_(False)
