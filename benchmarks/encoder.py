"""Encoding a crop by blocks, beside encoding it whole as published.

    python benchmarks/encoder.py

One architecture (f = 16, two residual blocks a level, no attention) at toy width, from pixels to
tokens, over crops of 2048 x 1080 and 3840 x 2160: taming-transformers' encoder on the whole crop,
with its own normalisation and quantiser; ours in one phase by blocks of 1024, each with the full
halo; ours as it is, in two phases by blocks of 2048. `--channels 128` is the published width.
Targets: the two phases are faster than the one, and not slower than the whole crop; less than half
of its memory at 2K, less than a quarter at 4K.
"""

import contextlib
import io
from functools import partial

import numpy as np
import race
import torch
from taming.modules.diffusionmodules.model import Encoder
from taming.modules.vqvae.quantize import VectorQuantizer2
from torch import Tensor, nn
from torch.nn import functional

from holohisto.runtime.arithmetic import ceil_div
from holohisto.tiles.grid import Tile
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.encode import Encoding, blocks, encode
from holohisto.tokens.encoders import LocalEncoder

CROPS = {"2K": (2048, 1080), "4K": (3840, 2160)}
SMALLER = {"2K": 2, "4K": 4}
MULTIPLIERS = (1, 1, 2, 2, 4)
CODES, DIMENSION = 1024, 64


def picture(size: tuple[int, int]) -> np.ndarray:
    """Random blocks, (height, width, 3) uint8."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (size[1] // 8 + 1, size[0] // 8 + 1, 3), dtype=np.uint8)
    return np.kron(small, np.ones((8, 8, 1), np.uint8))[: size[1], : size[0]]


class Published(nn.Module):
    """taming's encoder and quantiser, as its VQModel calls them (models/vqgan.py, `encode`)."""

    def __init__(self, channels: int) -> None:
        """Without attention: at 4K it alone would take a matrix of 32,400 squared."""
        super().__init__()
        with contextlib.redirect_stdout(io.StringIO()):
            self.encoder = Encoder(
                ch=channels,
                out_ch=3,
                ch_mult=MULTIPLIERS,
                num_res_blocks=2,
                attn_resolutions=(),
                in_channels=3,
                resolution=256,
                z_channels=DIMENSION,
                double_z=False,
            )
        self.encoder.mid.attn_1 = nn.Identity()
        self.quant_conv = nn.Conv2d(DIMENSION, DIMENSION, 1)
        self.quantize = VectorQuantizer2(CODES, DIMENSION, beta=0.25)

    def forward(self, rgb: Tensor) -> Tensor:
        """Tokens of uint8 (1, 3, H, W), widened to whole tokens."""
        pixels = rgb.float() / 127.5 - 1
        margin = (0, -rgb.shape[3] % 16, 0, -rgb.shape[2] % 16)
        latents = self.encoder(functional.pad(pixels, margin))
        return self.quantize(self.quant_conv(latents))[2][2]


def network(channels: int, device: str) -> VQGAN:
    """Our VQGAN of the same architecture."""
    model = VQGAN(
        Architecture(
            channels=channels,
            multipliers=MULTIPLIERS,
            residual_blocks=2,
            codebook=CODES,
            dimension=DIMENSION,
        )
    )
    model = model.to(device).eval().requires_grad_(False)
    model.use(Statistics.FROZEN)
    return model.to(memory_format=torch.channels_last)


def contenders(size: tuple[int, int], channels: int, device: str) -> race.Contenders:
    """The three ways from pixels in memory to tokens."""
    torch.manual_seed(0)
    rgb = picture(size)
    published = Published(channels).to(device).eval().requires_grad_(False)
    model = network(channels, device)
    encoder = LocalEncoder(model)
    needed = np.ones((ceil_div(size[1], 16), ceil_div(size[0], 16)), bool)
    encoding = Encoding(size, needed, background=0)

    def on_device(pixels: np.ndarray) -> Tensor:
        return torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None]

    def read(tile: Tile) -> np.ndarray:
        out = np.full((tile.height, tile.width, 3), 240, np.uint8)
        y, x = max(tile.y, 0), max(tile.x, 0)
        inside = rgb[y : max(y, tile.y + tile.height), x : max(x, tile.x + tile.width)]
        out[y - tile.y :, x - tile.x :][: inside.shape[0], : inside.shape[1]] = inside
        return out

    def one_phase() -> list[Tensor]:
        tiles = [tile.grown(encoder.halo) for tile in blocks(size, 1024, 16)]
        return [model.tokens(on_device(read(tile))) for tile in tiles]

    return {
        "taming, whole crop": lambda: published(on_device(rgb)),
        "ours, one phase 1024": one_phase,
        "ours, two phases 2048": lambda: encode(read, encoding, encoder, 2048),
    }


def main() -> None:
    """Print the table; exit 1 if a target is missed."""
    parser = race.options(__doc__)
    parser.add_argument("--channels", type=int, default=32, help="width of the first level")
    arguments = parser.parse_args()
    races = {name: partial(contenders, size, arguments.channels) for name, size in CROPS.items()}
    missed = []
    for name, results in race.run(races, arguments).items():
        whole, one, two = results.values()
        if two.best >= one.best:
            missed.append(f"{name}: two phases faster than one")
        if two.best > race.TOLERANCE * whole.best:
            missed.append(f"{name}: not slower than the whole crop")
        if two.peak_mb * SMALLER[name] > whole.peak_mb:
            missed.append(f"{name}: 1/{SMALLER[name]} of the memory")
    race.verdict(missed)


if __name__ == "__main__":
    main()
