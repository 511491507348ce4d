"""How well a tokenizer serves a slide: the tissue reconstructed from its token map."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from holohisto.device import device_of
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import ReadTile
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.encoders import TokenEncoder

SQUARES, SIDE = 4, 384
"""Squares of tissue that are evaluated, and their side, pixels."""


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
    precision_agreement: float | None
    """Share of tokens that bf16 and fp32 have in common; None for fp32."""


@torch.no_grad()
def judge(
    read: ReadTile, tokens: np.ndarray, needed: np.ndarray, encoder: TokenEncoder, bf16: bool
) -> tuple[TokenQuality, np.ndarray]:
    """Evaluate the map on a few squares of tissue, the same in every run.

    Args:
        read: Gives the pixels of a tile.
        tokens: (ceil(H/f), ceil(W/f)) uint16, the map.
        needed: The same shape, bool: tissue.
        encoder: The encoder of the map; its normalisation is frozen afterwards if it has context.
        bf16: Whether the map was computed in bf16.

    Returns:
        The facts, and a picture, (height, width, 3) uint8: originals above, reconstructions below.
    """
    model = encoder.model
    f = model.architecture.downscale
    squares = _squares(needed, f)
    originals = [read(tile) for tile in squares]
    mapped = [_slice(tokens, tile, f) for tile in squares]
    wanted = [_slice(needed, tile, f) for tile in squares]
    pairs = [(rgb, _decoded(model, t)) for rgb, t in zip(originals, mapped, strict=True)]
    used, perplexity = usage(tokens[needed], model.architecture.codebook)
    native = None
    if encoder.context:
        model.freeze(False)
        native = _agreement([_encoded(model, rgb) for rgb in originals], mapped, wanted)
        model.freeze()
    quality = TokenQuality(
        tokens=int(needed.sum()),
        codebook=model.architecture.codebook,
        codes_used=used,
        perplexity=perplexity,
        psnr=_mean(peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs),
        ssim=_mean(structural_similarity(a, b, channel_axis=2, data_range=255) for a, b in pairs),
        native_agreement=native,
        precision_agreement=_precision_agreement(model, originals, wanted) if bf16 else None,
    )
    return quality, _picture(pairs)


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


def _squares(needed: np.ndarray, f: int) -> list[Tile]:
    """Squares around tokens at even distances in the reading order of the tissue."""
    tissue = np.flatnonzero(needed)
    side = SIDE // f
    squares = []
    for n in range(SQUARES if len(tissue) else 0):
        middle = divmod(int(tissue[(2 * n + 1) * len(tissue) // (2 * SQUARES)]), needed.shape[1])
        height, width = (min(side, length) for length in needed.shape)
        y, x = (
            min(max(0, at - size // 2), length - size)
            for at, size, length in zip(middle, (height, width), needed.shape, strict=True)
        )
        squares.append(Tile(y * f, x * f, width * f, height * f))
    return squares


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


def _precision_agreement(
    model: VQGAN, originals: list[np.ndarray], wanted: list[np.ndarray]
) -> float | None:
    device = device_of(model).type
    exact = [_encoded(model, rgb) for rgb in originals]
    with torch.autocast(device, torch.bfloat16):
        rounded = [_encoded(model, rgb) for rgb in originals]
    return _agreement(rounded, exact, wanted)


def _mean(values: Iterable[Any]) -> float | None:
    finite = [float(value) for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _picture(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Originals above, reconstructions below; a grey square where there is no tissue."""
    if not pairs:
        return np.full((64, 64, 3), 240, np.uint8)
    above, below = zip(*pairs, strict=True)
    return np.concatenate([np.concatenate(above, 1), np.concatenate(below, 1)])
