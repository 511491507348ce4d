"""How well a tokenizer serves a slide: the tissue reconstructed from its token map."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skimage.metrics import structural_similarity

from holohisto.config.augmentation import ColourAugmentation
from holohisto.device import device_of
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant
from holohisto.tokenizer.losses import effective_rank
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.encode import ORIGINAL
from holohisto.tokens.needed import tissue_squares
from holohisto.tokens.slide_encoder import SlideEncoder

SQUARES, SIDE = 4, 256
"""Squares of tissue that are evaluated, and their side, pixels."""
CALIBRATION = 2
"""Tiles to which the encoder adapts to compare appearances, the slide's own included. The map
itself is made with more, which takes longer than all squares."""


@dataclass(frozen=True)
class TokenQuality:
    """Facts about the tokens of one slide, in its first variant: the slide itself."""

    tokens: int
    codebook: int
    codes_used: int
    perplexity: float | None
    """exp of the entropy of the codes' use: the number of equally used codes with that entropy."""
    psnr: float | None
    """Peak signal-to-noise ratio of tissue reconstructed from the map, dB."""
    ssim: float | None
    native_agreement: float | None
    """Share of tokens that squares encoded with their own statistics have in common with the map;
    None in mode `window`, where all are."""
    dimension: int
    """Length of a code."""
    effective_rank: float | None
    """Directions in which the codes of the tissue vary, from 1 to `dimension`."""
    kept: float | None
    """Share of tokens that are the same when the slide is seen in other appearances, random ones of
    the default strength, another one for each square."""
    precision_agreement: float | None
    """Share of tokens that bf16 and fp32 have in common; None for fp32."""


@torch.no_grad()
def judge(encoder: SlideEncoder, tokens: np.ndarray) -> tuple[TokenQuality, np.ndarray]:
    """Evaluate the map on a few squares of tissue, the same in every run.

    Args:
        encoder: Encodes the slide; it has to be adapted again before it encodes more.
        tokens: (ceil(H/f), ceil(W/f)) uint16, the map.

    Returns:
        The facts, and a picture, (height, width, 3) uint8: originals above, reconstructions below.
    """
    model, needed = encoder.encoder.model, encoder.needed()
    f = model.architecture.downscale
    squares = tissue_squares(needed, f, SQUARES, _side(needed, f))
    originals = [encoder.read(ORIGINAL, tile) for tile in squares]
    mapped = [_slice(tokens, tile, f) for tile in squares]
    wanted = [_slice(needed, tile, f) for tile in squares]
    pairs = [(rgb, _decoded(model, t)) for rgb, t in zip(originals, mapped, strict=True)]
    used, perplexity = usage(tokens[needed], model.architecture.codebook)
    encoder.adapt(tiles=CALIBRATION)
    alone = [_encoded(model, rgb) for rgb in originals]
    in_bf16 = encoder.encoder.precision == "bf16"
    rounded = [encoder.encoder.alone(rgb) for rgb in originals] if in_bf16 else None
    kept = _agreement(alone, _recoloured(encoder, squares), wanted)
    model.use(Statistics.NATIVE)
    native = [_encoded(model, rgb) for rgb in originals] if encoder.encoder.context else None
    codes = model.quantize.codes[torch.from_numpy(tokens[needed].astype(np.int64))]
    quality = TokenQuality(
        tokens=int(needed.sum()),
        codebook=model.architecture.codebook,
        codes_used=used,
        perplexity=perplexity,
        psnr=_mean(_psnr(a, b) for a, b in pairs),
        ssim=_mean(structural_similarity(a, b, channel_axis=2, data_range=255) for a, b in pairs),
        native_agreement=None if native is None else _agreement(native, mapped, wanted),
        dimension=model.architecture.dimension,
        effective_rank=effective_rank(codes) if len(codes) > 1 else None,
        kept=kept,
        precision_agreement=None if rounded is None else _agreement(rounded, alone, wanted),
    )
    return quality, _picture(pairs)


def _recoloured(encoder: SlideEncoder, squares: list[Tile]) -> list[np.ndarray]:
    """Return the tokens of squares, each encoded alone, the slide in another appearance each."""
    strength = Strength.of(ColourAugmentation())
    tokens = []
    for seed, tile in enumerate(squares):
        look = Variant(appearance=Appearance.draw(strength, np.random.default_rng(seed)))
        encoder.adapt(look, CALIBRATION)
        tokens.append(_encoded(encoder.encoder.model, encoder.read(look, tile)))
    return tokens


def _side(needed: np.ndarray, f: int) -> int:
    """Side of a square, whole tokens, at most SIDE and the slide's shorter side; pixels."""
    return min(SIDE // f, *needed.shape) * f


def usage(tokens: np.ndarray, codebook: int) -> tuple[int, float | None]:
    """Return the number of codes used, and the perplexity of their use; None without tokens.

    Args:
        tokens: Any shape, integers below `codebook`.
        codebook: Number of codes.
    """
    if not tokens.size:
        return 0, None
    count = np.bincount(tokens.ravel(), minlength=codebook)
    share = count[count > 0] / count.sum()
    return len(share), float(np.exp(-(share * np.log(share)).sum()))


def _slice(tokens: np.ndarray, tile: Tile, f: int) -> np.ndarray:
    y, x = tile.y // f, tile.x // f
    return tokens[y : y + tile.height // f, x : x + tile.width // f]


def _encoded(model: VQGAN, rgb: np.ndarray) -> np.ndarray:
    """Return the tokens of a square encoded alone, (h, w) int64."""
    device = device_of(model)
    pixels = torch.from_numpy(rgb).to(device).permute(2, 0, 1)[None]
    return model.tokens(pixels)[0].cpu().numpy()


def _decoded(model: VQGAN, tokens: np.ndarray) -> np.ndarray:
    """Decode tokens (h, w) into pixels (h*f, w*f, 3) uint8."""
    device = device_of(model)
    rgb = model.picture(torch.from_numpy(tokens.astype(np.int64)).to(device)[None])[0]
    return rgb.permute(1, 2, 0).cpu().numpy()


def _agreement(
    first: list[np.ndarray], second: list[np.ndarray], wanted: list[np.ndarray]
) -> float | None:
    """Return the share of wanted tokens that are equal; None if none is wanted."""
    total = sum(int(mask.sum()) for mask in wanted)
    same = sum(int((a == b)[mask].sum()) for a, b, mask in zip(first, second, wanted, strict=True))
    return same / total if total else None


def _psnr(rgb: np.ndarray, decoded: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two uint8 pictures, dB."""
    # skimage's own function is in a module that imports scipy.stats, half a second.
    error = np.square(rgb.astype(np.float64) - decoded).mean()
    return 10 * math.log10(255**2 / error) if error else math.inf


def _mean(values: Iterable[Any]) -> float | None:
    finite = [float(value) for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _picture(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Originals above, reconstructions below; a grey square where there is no tissue."""
    if not pairs:
        return np.full((64, 64, 3), 240, np.uint8)
    above, below = zip(*pairs, strict=True)
    return np.concatenate([np.concatenate(above, 1), np.concatenate(below, 1)])
