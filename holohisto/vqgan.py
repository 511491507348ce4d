"""The VQGAN: taming-transformers' encoder and decoder, a codebook, frozen normalisation."""

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator
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
from holohisto.errors import HolohistoError
from holohisto.frozen_norm import FreezableNorm

FORMAT = "holohisto-tokenizer-1"
QUANTISE_ROWS = 4096


class Architecture(BaseModel):
    """What it takes to build a VQGAN; stored in the header of its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int
    multipliers: tuple[int, ...]
    residual_blocks: int
    codebook: Annotated[int, Field(ge=2, le=65_536)]
    dimension: int
    pixel_range: Literal["-1..1", "0..1"] = "-1..1"

    @property
    def downscale(self) -> int:
        """Side of the block of pixels that becomes one token (f)."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def reach(self) -> int:
        """Pixels beyond its own block that a token depends on, to the right and below.

        To the left and above it is less: downsampling pads on one side only.
        """
        levels = len(self.multipliers) - 1
        residual = 2 * self.residual_blocks * (2 ** (levels + 1) - 1)
        middle_and_end = 5 * 2**levels
        downsampling = 2**levels - 1
        return 1 + residual + middle_and_end + downsampling


class Codebook(nn.Module):
    """The K codes of length d, and the search for the nearest (Eq. 1)."""

    def __init__(self, size: int, dimension: int) -> None:
        """Codes start at random; training or a checkpoint sets them."""
        super().__init__()
        self.embedding = nn.Embedding(size, dimension)
        nn.init.uniform_(self.embedding.weight, -1 / size, 1 / size)

    def nearest(self, latents: Tensor) -> Tensor:
        """Return the token of every latent: (..., d) float -> (...) int64.

        argmin of ||e||^2/2 - z.e in fp32, both centred on the codebook's mean (no cancellation),
        by chunks of rows (memory O(chunk * K)); the lowest index wins a tie.
        """
        with torch.autocast(latents.device.type, enabled=False):
            codes = self.embedding.weight.detach().float()
            centre = codes.mean(dim=0)
            codes = codes - centre
            half_norm = 0.5 * codes.square().sum(dim=1)
            flat = latents.detach().float().reshape(-1, codes.shape[1]) - centre
            tokens = [
                torch.addmm(half_norm, chunk, codes.T, alpha=-1).argmin(dim=1)
                for chunk in flat.split(QUANTISE_ROWS)
            ]
        return torch.cat(tokens).reshape(latents.shape[:-1])


class VQGAN(nn.Module):
    """Encoder, codebook and decoder over RGB tiles.

    The parameter names are those of taming-transformers (arXiv 2012.09841); there is no
    attention, so that a token depends on its neighbourhood alone.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Build with random weights and native normalisation."""
        super().__init__()
        self.architecture = architecture
        a = architecture
        options: dict[str, Any] = {
            "ch": a.channels, "out_ch": 3, "ch_mult": a.multipliers, "in_channels": 3,
            "num_res_blocks": a.residual_blocks, "attn_resolutions": (), "resolution": 256,
            "z_channels": a.dimension, "double_z": False,
        }  # fmt: skip
        with _our_norm():
            self.encoder = taming.Encoder(**options)
            self.decoder = taming.Decoder(**options)
        self.encoder.mid.attn_1 = nn.Identity()
        self.decoder.mid.attn_1 = nn.Identity()
        self.quant_conv = nn.Conv2d(a.dimension, a.dimension, 1)
        self.post_quant_conv = nn.Conv2d(a.dimension, a.dimension, 1)
        self.quantize = Codebook(a.codebook, a.dimension)

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

    def latents(self, x: Tensor) -> Tensor:
        """Encode (B, 3, H, W) into latents (B, H/f, W/f, d), before quantising."""
        encoder: Any = self.encoder
        h = encoder.conv_in(x)
        for level, down in enumerate(encoder.down):
            for block in down.block:
                h = block(h, None)
            if level != encoder.num_resolutions - 1:
                h = down.downsample(h)
        h = encoder.mid.block_2(encoder.mid.block_1(h, None), None)
        h = encoder.conv_out(functional.silu(encoder.norm_out(h)))
        return self.quant_conv(h).permute(0, 2, 3, 1)

    def tokens(self, rgb: Tensor) -> Tensor:
        """Return the tokens (B, H/f, W/f) int64 of uint8 (B, 3, H, W)."""
        return self.quantize.nearest(self.latents(self.pixels(rgb)))

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, h, w, d) into pixels (B, 3, h*f, w*f) in the network's range."""
        return self.decoder(self.post_quant_conv(codes.permute(0, 3, 1, 2)))

    def reconstruct(self, rgb: Tensor) -> Tensor:
        """Encode, quantise and decode uint8 (B, 3, H, W) to uint8 of the same shape."""
        out = self.decode(self.quantize.embedding(self.tokens(rgb)))
        if self.architecture.pixel_range == "-1..1":
            out = (out + 1) / 2
        return (out.clamp(0, 1) * 255).round().byte()


@contextlib.contextmanager
def _our_norm() -> Iterator[None]:
    """Let taming build with freezable norms, at any width, without its message on stdout."""
    with (
        patch.object(taming, "Normalize", FreezableNorm),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        yield


def digest(model: VQGAN) -> str:
    """Return the sha256 of all that decides tokens: architecture, encoder, statistics, codes."""
    sha = hashlib.sha256(model.architecture.model_dump_json().encode())
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
        "summary": json.dumps(summary),
    }
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    with atomic.replacing(path) as temporary:
        save_file(state, temporary, metadata=header)


def load(path: Path) -> VQGAN:
    """Read a tokenizer file, frozen and in evaluation state.

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
    model.freeze()
    return model.eval().requires_grad_(False)
