"""The samples of a pixel: grey, colours, and alpha, which is 0 where nothing was scanned."""

import numpy as np


def has_alpha(pixels: np.ndarray) -> bool:
    """Whether the last of 2 or 4 samples is alpha.

    Args:
        pixels: (height, width, 1 to 4 samples).
    """
    return pixels.shape[2] in (2, 4)


def to_rgb(pixels: np.ndarray, under: tuple[int, int, int]) -> np.ndarray:
    """Convert grey, grey and alpha, RGB, or RGB and alpha to RGB; alpha blends with `under`.

    Args:
        pixels: (height, width, 1 to 4 samples) uint8; alpha is not multiplied into the colours.
        under: Colour under transparent pixels.

    Returns:
        (height, width, 3) uint8 that the caller may write to; `pixels` itself where it is that.
    """
    samples = pixels.shape[2]
    if samples == 3:
        return pixels if pixels.flags.writeable else pixels.copy()
    colours = pixels[..., :1] if samples < 3 else pixels[..., :3]
    if has_alpha(pixels) and (alpha := pixels[..., -1:].astype(np.uint32)).min() < 255:
        base = np.asarray(under, np.uint32)
        colours = ((colours * alpha + base * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.array(np.broadcast_to(colours, (*pixels.shape[:2], 3)), order="C")


UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
"""Meanings of an extra sample of a TIFF: unknown, or alpha, multiplied into the colours or not."""


def with_plain_alpha(pixels: np.ndarray, meaning: int) -> np.ndarray:
    """Return pixels of a TIFF whose last sample, if extra, is alpha that is not multiplied in.

    Args:
        pixels: (height, width, 2 or 4) uint8 with an extra sample.
        meaning: UNSPECIFIED, whose sample is dropped, ASSOCIATED or UNASSOCIATED.
    """
    if meaning == UNSPECIFIED:
        return pixels[..., :-1]
    if meaning == UNASSOCIATED:
        return pixels
    alpha = pixels[..., -1:].astype(np.uint32)
    colours = (pixels[..., :-1] * np.uint32(255) + alpha // 2) // np.maximum(alpha, 1)
    return np.concatenate([np.minimum(colours, 255).astype(np.uint8), pixels[..., -1:]], axis=2)


def opaque(pixels: np.ndarray) -> np.ndarray:
    """Return the RGB colours of the pixels without transparency, (n, 3) uint8.

    Args:
        pixels: (height, width, 1 to 4 samples) uint8.
    """
    colours = to_rgb(pixels, (0, 0, 0)).reshape(-1, 3)
    if has_alpha(pixels):
        return colours[pixels[..., -1].ravel() == 255]
    return colours


def with_alpha(pixels: np.ndarray, scanned: np.ndarray) -> np.ndarray:
    """Return pixels with an alpha sample that is 0 where nothing was scanned.

    Args:
        pixels: (height, width, 1 to 4 samples) uint8; 2 or 4 include alpha already.
        scanned: (height, width) bool.

    Returns:
        (height, width, 2 or 4) uint8.
    """
    if has_alpha(pixels):
        return np.where(scanned[..., None], pixels, 0).astype(np.uint8)
    return np.concatenate([pixels, np.where(scanned, 255, 0)[..., None].astype(np.uint8)], axis=2)
