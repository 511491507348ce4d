"""Token maps: every token of a slide, a function of slide and tokenizer alone."""

import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy import ndimage

from holohisto import atomic
from holohisto.config import TokensOptions
from holohisto.errors import HolohistoError
from holohisto.grid import Tile
from holohisto.prefetch import prefetch
from holohisto.progress import track
from holohisto.vqgan import VQGAN, Architecture

FORMAT = "holohisto-tokens-1"
MARGIN = 2  # cells around the foreground whose tokens are computed too
logger = logging.getLogger(__name__)

ReadTile = Callable[[Tile], np.ndarray]
"""Pixels of a tile at working resolution, (height, width, 3) uint8; outside: background."""


@dataclass(frozen=True)
class TokenMap:
    """The tokens of one slide.

    `tokens` is (variants, ceil(H/f), ceil(W/f)) uint16 for a working size of W x H; token (i, j)
    stands for the pixels from (i*f, j*f) on.
    """

    tokens: np.ndarray
    slide: str
    fingerprint: str
    """Fingerprint of the slide's content."""
    tokenizer: str
    """Digest of the tokenizer."""
    downscale: int
    background: int
    """Token of the slide's own background colour."""


@torch.no_grad()
def encode(
    read: ReadTile,
    size: tuple[int, int],
    needed: np.ndarray,
    model: VQGAN,
    background: int,
    options: TokensOptions,
) -> np.ndarray:
    """Compute the tokens of one slide.

    The slide is cut into cores anchored at its origin. Each is encoded with a halo that covers
    the encoder's receptive field and whose pixels are real, or background outside the slide; with
    frozen statistics a token then does not depend on the cut.

    Args:
        read: Gives the pixels of a tile.
        size: Working width and height of the slide.
        needed: (ceil(H/f), ceil(W/f)) bool, tokens to compute; the others are `background`.
        model: A frozen tokenizer.
        background: Token of plain background.
        options: Core and halo.

    Returns:
        (ceil(H/f), ceil(W/f)) uint16.
    """
    f = model.architecture.downscale
    tokens = np.full(needed.shape, background, np.uint16)
    tiles = [tile for tile in _cores(size, options, f) if _part(needed, tile, options, f).any()]
    device = next(model.parameters()).device
    halo = options.halo // f
    pictures = prefetch(read, tiles, workers=1)
    for tile, rgb in track(zip(tiles, pictures, strict=True), len(tiles), "tokens"):
        pixels = torch.from_numpy(rgb).to(device).permute(2, 0, 1)[None]
        with _exact():
            found = model.tokens(pixels.contiguous(memory_format=torch.channels_last))[0]
        found = found.to("cpu", torch.int32).numpy().astype(np.uint16)
        view = _part(tokens, tile, options, f)
        inner = found[halo : halo + view.shape[0], halo : halo + view.shape[1]]
        np.copyto(view, inner, where=_part(needed, tile, options, f))
    return tokens


def _exact() -> contextlib.AbstractContextManager[None]:
    """Full fp32 and one algorithm on GPUs: TF32 convolutions would change tokens."""
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )


def _cores(size: tuple[int, int], options: TokensOptions, f: int) -> list[Tile]:
    """Tiles with halo around cores anchored at the origin, all of one shape."""
    width, height = (min(options.core, -(-side // f) * f) for side in size)
    halo = options.halo
    return [
        Tile(y - halo, x - halo, width + 2 * halo, height + 2 * halo)
        for y in range(0, size[1], height)
        for x in range(0, size[0], width)
    ]


def _part(tokens: np.ndarray, tile: Tile, options: TokensOptions, f: int) -> np.ndarray:
    """View the tokens of a tile's core; at the border there are fewer."""
    top, left = (tile.y + options.halo) // f, (tile.x + options.halo) // f
    rows, columns = (tile.height - 2 * options.halo) // f, (tile.width - 2 * options.halo) // f
    return tokens[top : top + rows, left : left + columns]


def needed_tokens(foreground: np.ndarray, cell: int, size: tuple[int, int], f: int) -> np.ndarray:
    """Widen the foreground a little and bring it to one value a token.

    Args:
        foreground: (rows, columns) bool, one value per `cell` working pixels.
        cell: Side of a cell, working pixels.
        size: Working width and height of the slide.
        f: Side of a token, working pixels.

    Returns:
        (ceil(H/f), ceil(W/f)) bool.
    """
    wide = np.asarray(ndimage.binary_dilation(foreground, np.ones((3, 3), bool), iterations=MARGIN))
    rows = np.minimum(np.arange(-(-size[1] // f)) * f // cell, wide.shape[0] - 1)
    columns = np.minimum(np.arange(-(-size[0] // f)) * f // cell, wide.shape[1] - 1)
    if f <= cell:
        return np.asarray(wide[np.ix_(rows, columns)])
    each = f // cell
    padded = np.pad(wide, [(0, -n % each) for n in wide.shape])
    return np.asarray(padded.reshape(len(rows), each, len(columns), each).any(axis=(1, 3)))


@torch.no_grad()
def background_token(model: VQGAN, colour: tuple[int, int, int], halo: int) -> int:
    """Return the token in the middle of a plane of one colour."""
    side = 2 * halo + model.architecture.downscale
    device = next(model.parameters()).device
    plane = torch.tensor(colour, dtype=torch.uint8, device=device)
    with _exact():
        found = model.tokens(plane[None, :, None, None].expand(1, 3, side, side))[0]
    return int(found[found.shape[0] // 2, found.shape[1] // 2])


def usage(tokens: np.ndarray, codebook: int) -> tuple[int, float]:
    """Return how many codes a map uses, and the perplexity of their use."""
    count = np.bincount(tokens.ravel(), minlength=codebook)
    share = count[count > 0] / count.sum()
    return len(share), float(np.exp(-(share * np.log(share)).sum()))


def save(token_map: TokenMap, path: Path, options: TokensOptions) -> None:
    """Write a token map, atomically."""
    header = {
        "format": FORMAT,
        "slide": token_map.slide,
        "fingerprint": token_map.fingerprint,
        "tokenizer": token_map.tokenizer,
        "downscale": str(token_map.downscale),
        "background": str(token_map.background),
        "options": json.dumps(options.model_dump()),
    }
    with atomic.replacing(path) as temporary:
        save_file({"tokens": token_map.tokens}, temporary, metadata=header)


def load(path: Path) -> TokenMap:
    """Read a token map.

    Raises:
        HolohistoError: the file is no token map, or it is cut short.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise HolohistoError(
                    path, "is not a token map", found=header.get("format", "no format"),
                    allowed=FORMAT,
                )  # fmt: skip
            tokens = file.get_tensor("tokens")
    except (OSError, SafetensorError) as error:
        raise HolohistoError(path, f"token map cannot be read: {error}") from error
    return TokenMap(
        tokens=tokens,
        slide=header["slide"],
        fingerprint=header["fingerprint"],
        tokenizer=header["tokenizer"],
        downscale=int(header["downscale"]),
        background=int(header["background"]),
    )


def require_tokenizer(token_map: TokenMap, digest: str, path: Path) -> None:
    """Refuse tokens of another tokenizer than the one with this digest."""
    if token_map.tokenizer != digest:
        raise HolohistoError(
            path, "token map is of another tokenizer", found=token_map.tokenizer[:12],
            allowed=digest[:12], advice="compute the token map again",
        )  # fmt: skip


def require_slide(token_map: TokenMap, fingerprint: str, slide: str, path: Path) -> None:
    """Refuse tokens of another slide, or of earlier content of this one."""
    if token_map.fingerprint != fingerprint:
        raise HolohistoError(
            path, f"token map is not of the present content of slide {slide}",
            found=f"slide {token_map.slide}", advice="compute the token map again",
        )  # fmt: skip


def require_halo(architecture: Architecture, options: TokensOptions) -> None:
    """Refuse a halo under which tokens would depend on the tiling."""
    if options.halo < architecture.reach:
        raise HolohistoError(
            "tokens.halo", "is smaller than what the tokenizer sees", found=options.halo,
            allowed=f"at least {architecture.reach}",
        )  # fmt: skip


def tile_tokens(token_map: TokenMap, tile: Tile) -> np.ndarray:
    """Return a tile's slice of the map, (height/f, width/f) int64; beyond it: background.

    The tile's position and size are multiples of f.
    """
    f = token_map.downscale
    out = np.full((tile.height // f, tile.width // f), token_map.background, np.int64)
    top, left = tile.y // f, tile.x // f
    part = token_map.tokens[0, top : top + out.shape[0], left : left + out.shape[1]]
    out[: part.shape[0], : part.shape[1]] = part
    return out
