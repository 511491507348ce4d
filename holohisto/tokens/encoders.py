"""Encoding the pixels of a block into tokens: locally, or window by window."""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from holohisto.config.fields import Precision
from holohisto.device import device_of, encoding_in
from holohisto.errors import HolohistoError
from holohisto.runtime import processor
from holohisto.runtime.arithmetic import ceil_div, round_up
from holohisto.tiles.grid import positions
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import RESOLUTION, VQGAN

SUBTILE = 512
"""Side, about, of the subtiles of the first phase, whose full-resolution features need memory."""
GPU_BATCH = 8
"""Subtiles or windows encoded together on a GPU."""


Adapted = list[tuple[Tensor, Tensor]]
"""Mean and variance of each norm at a slide; empty where an encoder adapts to nothing."""


class TokenEncoder(Protocol):
    """Encodes the pixels of a block, with context, into its tokens."""

    model: VQGAN
    precision: Precision
    context: int
    """Pixels needed around a block, on every side."""
    unit: int
    """Position and size of a block are multiples of it, pixels."""

    def adapt(self, tiles: list[np.ndarray]) -> Adapted:
        """Prepare for a slide, given tiles of its tissue, each (height, width, 3) uint8.

        Returns:
            What `adapt_again` needs to prepare for it again, without its tiles.
        """
        ...

    def adapt_again(self, adapted: Adapted) -> None:
        """Prepare for a slide as `adapt` did."""
        ...

    def __call__(self, rgb: np.ndarray, needed: np.ndarray) -> np.ndarray:
        """Encode a block.

        Args:
            rgb: (height + 2 * context, width + 2 * context, 3) uint8.
            needed: (height/f, width/f) bool; other tokens are arbitrary.

        Returns:
            (height/f, width/f) uint16.
        """
        ...

    def alone(self, rgb: np.ndarray) -> np.ndarray:
        """Encode a square (height, width, 3) uint8 without context, in the encoder's precision.

        Returns:
            (height/f, width/f) uint16.
        """
        ...


def encoder_for(
    model: VQGAN, mode: str, precision: Precision = "fp32", converted: Path | None = None
) -> TokenEncoder:
    """Return the encoder of a mode, `frozen` or `window`.

    On a CPU, mode `frozen` is computed by OpenVINO: fp32, and bf16 where the processor has it. Mode
    `window` is computed by torch: sums over a window take OpenVINO longer, and it rounds them more.

    Args:
        model: The tokenizer.
        mode: `frozen` or `window`.
        precision: Precision of the arithmetic.
        converted: File in which its networks for OpenVINO are kept; None: they are not kept.

    Raises:
        HolohistoError: the tokenizer has attention, so that no halo makes its tokens local.
    """
    if mode == "window":
        return WindowEncoder(model, precision)
    if not model.architecture.local:
        raise HolohistoError(
            "tokens.mode",
            "frozen needs a tokenizer without attention",
            found="one with attention",
            allowed="window, online",
        )
    if device_of(model).type == "cpu" and (precision == "fp32" or processor.has_bf16()):
        from holohisto.tokens.openvino_encoder import OpenvinoEncoder

        return OpenvinoEncoder(model, converted, precision)
    return LocalEncoder(model, precision)


class LocalEncoder:
    """Mode `frozen`: statistics of the slide, so that a token depends on its neighbourhood alone.

    Two phases. The levels at full and half resolution, most of the work and nearly all of the
    memory, run on small subtiles with a halo of their own reach (16 px); the deeper ones on the
    whole block with the full halo (224 px at f = 16), cheap at a quarter of the resolution.
    """

    def __init__(
        self, model: VQGAN, precision: Precision = "fp32", halo: int | None = None
    ) -> None:
        """`halo` defaults to the tokenizer's; with a smaller one tokens depend on the tiling."""
        architecture = model.architecture
        self.model = model
        self.precision: Precision = precision
        self.unit = architecture.downscale
        self.halo = architecture.halo if halo is None else halo
        self.margin = round_up(architecture.shallow_reach, self.unit)
        self.context = self.halo + self.margin

    def adapt(self, tiles: list[np.ndarray]) -> Adapted:
        """Freeze the statistics at those of a slide's tissue, see TokenEncoder."""
        with encoding_in("fp32", device_of(self.model)):
            calibrate(self.model, tiles)
        return [(norm.mean.clone(), norm.variance.clone()) for norm in self.model.norms]

    def adapt_again(self, adapted: Adapted) -> None:
        """Freeze the statistics at earlier ones, see TokenEncoder."""
        for norm, (mean, variance) in zip(self.model.norms, adapted, strict=True):
            norm.mean.copy_(mean)
            norm.variance.copy_(variance)
        self.model.use(Statistics.FROZEN)

    @torch.no_grad()
    def latents(self, rgb: np.ndarray, needed: np.ndarray) -> Tensor:
        """Return the latents of a block, (height/f, width/f, d), on the model's device."""
        device = device_of(self.model)
        pixels = torch.from_numpy(rgb).to(device)
        with encoding_in(self.precision, device):
            features = self._shallow(pixels, needed)
            latents = self._deep(features)[0]
        halo = self.halo // self.unit
        return latents[halo : halo + needed.shape[0], halo : halo + needed.shape[1]]

    def __call__(self, rgb: np.ndarray, needed: np.ndarray) -> np.ndarray:
        """Encode a block; see TokenEncoder."""
        return _to_numpy(self.model.quantize.assign(self.latents(rgb, needed)))

    @torch.no_grad()
    def alone(self, rgb: np.ndarray) -> np.ndarray:
        """Encode a square; see TokenEncoder."""
        device = device_of(self.model)
        with encoding_in(self.precision, device):
            features = self._features(torch.from_numpy(rgb).to(device)[None])
            latents = self._deep(features)[0]
        return _to_numpy(self.model.quantize.assign(latents))

    def _shallow(self, pixels: Tensor, needed: np.ndarray) -> Tensor:
        """First phase: (H, W, 3) uint8 with margin -> features (1, C, H/4, W/4) without."""
        height, width = (side - 2 * self.margin for side in pixels.shape[:2])
        shape, corners = _subtiles((height, width), self.unit)
        wanted = self._reached(needed)
        corners = [
            (y, x)
            for y, x in corners
            if wanted[
                y // self.unit : ceil_div(y + shape[0], self.unit),
                x // self.unit : ceil_div(x + shape[1], self.unit),
            ].any()
        ]
        scale = 2**self.model.architecture.shallow_levels
        margin, rows, columns = self.margin // scale, shape[0] // scale, shape[1] // scale
        out: Tensor | None = None
        for batch in _batches(corners, pixels.device):
            views = [
                pixels[y : y + shape[0] + 2 * self.margin, x : x + shape[1] + 2 * self.margin]
                for y, x in batch
            ]
            features = self._features(torch.stack(views))
            if out is None:
                out = features.new_zeros(1, features.shape[1], height // scale, width // scale)
                if features.is_contiguous(memory_format=torch.channels_last):
                    out = out.contiguous(memory_format=torch.channels_last)
            for (y, x), subtile in zip(batch, features, strict=True):
                inner = subtile[:, margin : margin + rows, margin : margin + columns]
                out[0, :, y // scale : y // scale + rows, x // scale : x // scale + columns] = inner
        assert out is not None, "a block without needed tokens"
        return out

    def _features(self, views: Tensor) -> Tensor:
        """First phase of subtiles (B, h, w, 3) uint8: (B, C, h/4, w/4)."""
        pixels = self.model.pixels(views.permute(0, 3, 1, 2))
        return self.model.shallow(pixels.contiguous(memory_format=torch.channels_last))

    def _deep(self, features: Tensor) -> Tensor:
        """Second phase of a block: features (1, C, H/4, W/4) -> latents (1, H/f, W/f, d)."""
        return self.model.deep(features)

    def _reached(self, needed: np.ndarray) -> np.ndarray:
        """Return the squares of f pixels, halo included, that a needed token depends on, bool."""
        halo = self.halo // self.unit
        padded = np.pad(needed, halo)
        reach = ceil_div(self.model.architecture.reach, self.unit)
        return np.asarray(ndimage.maximum_filter(padded, 2 * reach + 1, mode="constant"))


class WindowEncoder:
    """Mode `window`: squares of a fixed lattice, each encoded by itself with its own statistics.

    Squares as large as published VQGANs were trained on, so that attention is used as trained and
    never grows. Tokens are a function of the slide alone, but do not continue from one square into
    the next.
    """

    def __init__(self, model: VQGAN, precision: Precision = "fp32") -> None:
        """The lattice is anchored at the slide's origin."""
        model.use(Statistics.NATIVE)
        self.model = model
        self.precision: Precision = precision
        self.context, self.unit = 0, RESOLUTION

    def adapt(self, tiles: list[np.ndarray]) -> Adapted:
        """Every window has its own statistics, see TokenEncoder."""
        return []

    def adapt_again(self, adapted: Adapted) -> None:
        """See `adapt`."""

    @torch.no_grad()
    def __call__(self, rgb: np.ndarray, needed: np.ndarray) -> np.ndarray:
        """Encode a block; see TokenEncoder."""
        device = device_of(self.model)
        f = self.model.architecture.downscale
        each = RESOLUTION // f
        tokens = np.zeros(needed.shape, np.uint16)
        corners = [
            (y, x)
            for y in range(0, needed.shape[0], each)
            for x in range(0, needed.shape[1], each)
            if needed[y : y + each, x : x + each].any()
        ]
        for batch in _batches(corners, device):
            views = [rgb[y * f :, x * f :][:RESOLUTION, :RESOLUTION] for y, x in batch]
            pixels = torch.from_numpy(np.stack(views)).to(device).permute(0, 3, 1, 2)
            with encoding_in(self.precision, device):
                latents = self.model.latents(self.model.pixels(pixels))
            windows = _to_numpy(self.model.quantize.assign(latents))
            for (y, x), window in zip(batch, windows, strict=True):
                tokens[y : y + each, x : x + each] = window
        return tokens

    @torch.no_grad()
    def alone(self, rgb: np.ndarray) -> np.ndarray:
        """Encode a square, such as a window; see TokenEncoder."""
        device = device_of(self.model)
        pixels = torch.from_numpy(rgb).to(device).permute(2, 0, 1)[None]
        with encoding_in(self.precision, device):
            latents = self.model.latents(self.model.pixels(pixels))
        return _to_numpy(self.model.quantize.assign(latents[0]))


def background_token(encoder: TokenEncoder, colour: np.ndarray) -> int:
    """Return the token in the middle of a plane of one colour, (3,) uint8."""
    f = encoder.model.architecture.downscale
    side = round_up(encoder.unit, f)
    plane = np.broadcast_to(colour, (*[side + 2 * encoder.context] * 2, 3)).astype(np.uint8)
    tokens = encoder(plane, np.ones((side // f, side // f), bool))
    return int(tokens[tokens.shape[0] // 2, tokens.shape[1] // 2])


def _subtiles(size: tuple[int, int], unit: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Cut (height, width) into subtiles of one shape, about SUBTILE a side; shape and corners."""
    height, width = (round_up(ceil_div(side, ceil_div(side, SUBTILE)), unit) for side in size)
    corners = [
        (y, x)
        for y in positions(size[0], height, 0.0, unit)
        for x in positions(size[1], width, 0.0, unit)
    ]
    return (height, width), corners


def _batches(corners: list[tuple[int, int]], device: torch.device) -> list[list[tuple[int, int]]]:
    """Group corners into batches of GPU_BATCH on a GPU, of one on a CPU, which gains nothing."""
    size = GPU_BATCH if device.type == "cuda" else 1
    return [corners[first : first + size] for first in range(0, len(corners), size)]


def _to_numpy(tokens: Tensor) -> np.ndarray:
    return tokens.to("cpu", torch.int32).numpy().astype(np.uint16)
