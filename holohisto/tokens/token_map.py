"""The token map of a slide and its file."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field, Json, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from holohisto.config.fields import Precision, first_mistake
from holohisto.config.training import TokensOptions
from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.runtime.seal import require_header, sealed_header
from holohisto.runtime.tensor_file import read_header
from holohisto.slide.scale import Scale, ScaleField
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant, variants_of

FORMAT = "holohisto-tokens-7"
PREFIX = "tokens."
MOST_VARIANTS = 64
"""Largest number of variants, as the configuration allows."""
Token = Annotated[int, Field(ge=0, lt=2**16)]


class TokenHeader(BaseModel):
    """The header of a token map's file, with the bounds of its values."""

    slide: str
    fingerprint: str
    tokenizer: str
    downscale: Annotated[int, Field(ge=1, le=64)]
    backgrounds: Annotated[Json[tuple[Token, ...]], Field(max_length=MOST_VARIANTS)]
    precision: Precision
    options: Json[TokensOptions]
    scale: Annotated[ScaleField, BeforeValidator(json.loads)]


@dataclass(frozen=True)
class TokenMap:
    """The tokens of one slide.

    `tokens` has, for each variant, (ceil(H/f), ceil(W/f)) uint16, where W x H is the working size
    as seen in the variant; token (i, j) stands for the pixels from (i*f, j*f) on.
    """

    tokens: list[np.ndarray]
    slide: str
    fingerprint: str
    """Fingerprint of the slide's content."""
    tokenizer: str
    """Digest of the tokenizer."""
    downscale: int
    backgrounds: tuple[int, ...]
    """Token of the white around the tissue in each variant."""
    precision: Precision
    """Precision that the encoder computed in; `options.precision` may be `auto`."""
    options: TokensOptions
    scale: Scale
    """Level-0 pixels per working pixel of the slide."""

    @cached_property
    def variants(self) -> list[Variant]:
        """The variants of `tokens`, in the same order."""
        return variants_of(self.options, self.fingerprint)[: len(self.tokens)]


def save_token_map(token_map: TokenMap, path: Path) -> None:
    """Write a token map, atomically."""
    header = {
        "format": FORMAT,
        "slide": token_map.slide,
        "fingerprint": token_map.fingerprint,
        "tokenizer": token_map.tokenizer,
        "downscale": str(token_map.downscale),
        "backgrounds": json.dumps(token_map.backgrounds),
        "precision": token_map.precision,
        "options": token_map.options.model_dump_json(),
        "scale": json.dumps(token_map.scale.texts),
    }
    tensors = {f"{PREFIX}{n}": np.ascontiguousarray(t) for n, t in enumerate(token_map.tokens)}
    header = sealed_header(header, *(tokens.data for tokens in tensors.values()))
    with atomic.replacing(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_token_map(path: Path) -> TokenMap:
    """Read a token map.

    Raises:
        HolohistoError: the file is not a token map, or it is damaged.
    """
    header = read_header(path, "token map", FORMAT, "run `holohisto tokens` again")
    try:
        with safe_open(path, framework="numpy") as file:
            count = min(len(file.keys()), MOST_VARIANTS)
            tokens = [file.get_tensor(f"{PREFIX}{n}") for n in range(count)]
        require_header(path, header, *(variant.data for variant in tokens))
        facts = TokenHeader.model_validate(header)
    except (OSError, SafetensorError, ValidationError, ValueError) as error:
        raise HolohistoError(path, f"token map cannot be read: {first_mistake(error)}") from error
    if any(t.ndim != 2 or t.dtype != np.uint16 for t in tokens):
        raise HolohistoError(path, "token map cannot be read: not of (rows, columns) uint16")
    if not 1 <= len(tokens) == len(facts.backgrounds):
        raise HolohistoError(
            path, "token map cannot be read: other variants than in its header", found=len(tokens)
        )
    return TokenMap(
        tokens=tokens,
        slide=facts.slide,
        fingerprint=facts.fingerprint,
        tokenizer=facts.tokenizer,
        downscale=facts.downscale,
        backgrounds=facts.backgrounds,
        precision=facts.precision,
        options=facts.options,
        scale=facts.scale,
    )


def require_tokenizer(token_map: TokenMap, digest: str, path: Path) -> None:
    """Check that the tokens are those of the tokenizer with a digest.

    Raises:
        HolohistoError: naming `path`, the file of the map: they are not.
    """
    if token_map.tokenizer != digest:
        raise HolohistoError(
            path,
            "token map is of another tokenizer",
            found=token_map.tokenizer[:12],
            allowed=digest[:12],
            advice="compute the token map again",
        )


def require_slide(token_map: TokenMap, fingerprint: str, slide: str, path: Path) -> None:
    """Check that the tokens are those of a slide with the fingerprint of its present content.

    Raises:
        HolohistoError: naming `path`, the file of the map: another slide, or earlier content.
    """
    if token_map.fingerprint != fingerprint:
        raise HolohistoError(
            path,
            f"token map is not of the present content of slide {slide}",
            found=f"slide {token_map.slide}",
            advice="compute the token map again",
        )


def require_scale(token_map: TokenMap, scale: Scale, path: Path) -> None:
    """Check that the tokens were computed at the slide's present working resolution.

    Raises:
        HolohistoError: naming `path`, the file of the map: they were not.
    """
    if token_map.scale != scale:
        raise HolohistoError(
            path,
            f"token map of slide {token_map.slide} is of another working resolution",
            found=f"{token_map.scale} level-0 pixels per working pixel",
            allowed=scale,
            advice="compute the token map again",
        )


def require_mode(token_map: TokenMap, mode: str, path: Path) -> None:
    """Check that the tokens were computed in the mode that a segmenter was trained with.

    Raises:
        HolohistoError: naming `path`, the file of the map: they were not.
    """
    if token_map.options.mode != mode:
        raise HolohistoError(
            path,
            "token map is of another mode than the segmenter's",
            found=token_map.options.mode,
            allowed=mode,
            advice="set tokens.mode",
        )


def require_precision(token_map: TokenMap, precision: Precision | None, path: Path) -> None:
    """Check that the tokens were computed in the precision that a segmenter was trained with.

    Raises:
        HolohistoError: naming `path`, the file of the map: they were not.
    """
    if token_map.precision != precision:
        raise HolohistoError(
            path,
            "token map is of another precision than the segmenter's, so its tokens differ",
            found=token_map.precision,
            allowed=precision,
            advice=f"set tokens.precision: {precision}, and compute the token map again"
            " (`auto` is bf16 on GPUs and fp32 on CPUs)",
        )


def tile_tokens(token_map: TokenMap, tile: Tile, variant: int = 0) -> np.ndarray:
    """Return a tile's slice of the map; background outside the slide.

    Args:
        token_map: The tokens.
        tile: Pixels of the variant, not turned; position and size are multiples of f.
        variant: Index of the variant.

    Returns:
        (height/f, width/f) int64.
    """
    f = token_map.downscale
    out = np.full((tile.height // f, tile.width // f), token_map.backgrounds[variant], np.int64)
    top, left = tile.y // f, tile.x // f
    inside = token_map.tokens[variant][top : top + out.shape[0], left : left + out.shape[1]]
    out[: inside.shape[0], : inside.shape[1]] = inside
    return out
