"""Pictures of tissue above its reconstruction from the slide's tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from holohisto.report.pictures.embedded import EmbeddedPicture, embedded
from holohisto.report.results import Run, record
from holohisto.report.tables.tokens import QualityRow, by_psnr

BYTES = 75_000
"""Size of a picture; there are at most two."""
NO_GAIN, LITTLE_GAIN = 0.5, 3.0
"""Gains in dB below which a reconstruction counts as no better than a mosaic, or little better."""


@dataclass(frozen=True)
class Rebuilt:
    """Squares of a slide above, the same squares reconstructed from the slide's tokens below."""

    slide: str
    rank: str
    """Rank of the slide in the cohort: `lowest PSNR` or `median PSNR`."""
    picture: EmbeddedPicture
    gain: float
    """In dB, see `gain_over_plain`."""

    @property
    def words(self) -> str:
        """The gain as a sentence; empty if it is not known."""
        mosaic = "to the upper row than a mosaic with the mean colour of each token's square"
        if math.isnan(self.gain):
            return ""
        if self.gain < NO_GAIN:
            return f"The lower row is no closer {mosaic}: the tokens hold little more than colours."
        little = ", a small gain: fine structures are blurred" if self.gain < LITTLE_GAIN else ""
        return f"The lower row is {self.gain:.1f} dB closer {mosaic}{little}."


def rebuilt(run: Run, qualities: Sequence[QualityRow], side: int) -> list[Rebuilt]:
    """The slides with the lowest and the median PSNR among those with a picture."""
    shown = [
        row.slide
        for row in by_psnr(qualities)
        if not math.isnan(row["psnr"]) and run.results.token_picture(row.slide).exists()
    ]
    chosen = [(slide, "lowest PSNR") for slide in shown[:1]]
    if len(shown) > 2:
        chosen.append((shown[(len(shown) - 1) // 2], "median PSNR"))
    result = []
    for slide, rank in chosen:
        shown_picture = embedded(run.results.token_picture(slide), 2 * side, BYTES)
        if shown_picture is not None:
            gain = gain_over_plain(run.results.token_picture(slide), _side(run, slide))
            result.append(Rebuilt(slide, rank, shown_picture, gain))
    return result


def _side(run: Run, slide: str) -> int:
    """Side of a token, pixels: the power of two by which the token map is smaller; 0: not known."""
    tokens: Any = record(run.results.token_quality(slide))
    check: Any = record(run.results.record(slide))
    try:
        return 2 ** math.ceil(math.log2(check["working_size"][0] / tokens["size_tokens"][0]))
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        return 0


def gain_over_plain(path: Path, f: int) -> float:
    """Gain in PSNR of the reconstruction over plain squares, dB.

    Plain squares of f x f pixels have the mean colour of the original. They are the baseline for
    tokens, whatever the contrast of the stain. NaN if f is 0 or an error is 0.

    Args:
        path: picture with the original in its upper half, the reconstruction in its lower half.
        f: side of a token, pixels.
    """
    with Image.open(path, formats=("JPEG", "PNG")) as opened:
        pixels = np.asarray(opened.convert("RGB"), np.float32)
    if f == 0:
        return math.nan
    height, width = pixels.shape[0] // 2 // f * f, pixels.shape[1] // f * f
    original = pixels[:height, :width]
    again = pixels[pixels.shape[0] // 2 :][:height, :width]
    blocks = original.reshape(height // f, f, width // f, f, 3)
    plain = float(np.square(blocks - blocks.mean((1, 3), keepdims=True)).mean())
    error = float(np.square(original - again).mean())
    return 10 * math.log10(plain / error) if plain > 0 and error > 0 else math.nan
