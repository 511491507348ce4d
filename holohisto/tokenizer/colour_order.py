"""In which order of its colours a slide looks most like the tissue a tokenizer was trained on.

Which colour stains which structure differs between methods: what is red in one is black in another.
A tokenizer reads tissue best whose colours have the roles that it knows. So a slide's tokens are
computed in that order of its three colours in which their codes are the most usual ones, judged by
the codes of the training tissue. The order is a function of slide and tokenizer alone.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from holohisto.device import device_of, memory_format
from holohisto.tiles.appearance import ORDERS, UNCHANGED, UNPERMUTED, Order
from holohisto.tiles.colour import Colour
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import VQGAN

GLASS = 235
"""Mean brightness from which a square is glass, which looks the same in every order."""
LEAST_Z = 5.0
"""By how many standard errors another order has to be more usual than the slide's own, at least.
They are those of independent tokens, but neighbours see the same tissue, so they are too small."""
LEAST_GAIN = 0.1
"""Smallest gain of the mean logarithm; chance reaches less than that in tissue of one stain."""


class Usual(NamedTuple):
    """The order of the colours in which tissue has the most usual codes."""

    order: Order
    gain: float
    """Of the mean logarithm of the codes' shares over that in the slide's own order."""
    z: float
    """By how many standard errors it is more usual than the slide's own order; 0 for that one."""


def usual_order(model: VQGAN, tiles: list[np.ndarray], colour: Colour) -> Order:
    """Return the order of the colours in which a slide is encoded.

    The slide's own order is left only for one that is clearly more usual, and more so than for any
    training slide: a tokenizer that was trained on several stains knows several orders.

    Args:
        model: The tokenizer; statistics that it was frozen at are lost.
        tiles: Tiles of the slide's tissue, (height, width, 3) uint8 of equal sizes.
        colour: Colour of that tissue.

    Returns:
        `UNPERMUTED` also where the tokenizer does not know the shares of its codes.
    """
    if model.usage is None or model.order_z is None:
        return UNPERMUTED
    found = most_usual(model, model.usage, tiles, colour)
    clear = found.gain > LEAST_GAIN and found.z > max(LEAST_Z, float(model.order_z))
    return found.order if clear else UNPERMUTED


def most_usual(model: VQGAN, usage: Tensor, tiles: list[np.ndarray], colour: Colour) -> Usual:
    """Return the order in which tissue has the most usual codes.

    The measure is the mean logarithm of the codes' shares in the training tissue.

    Args:
        model: The tokenizer; statistics that it was frozen at are lost.
        usage: From `code_usage`.
        tiles: As of `usual_order`.
        colour: As of `usual_order`.
    """
    if not tiles:
        return Usual(UNPERMUTED, 0.0, 0.0)
    stained = np.flatnonzero(_stained(tiles, model.architecture.downscale))
    if len(stained) < 2:
        return Usual(UNPERMUTED, 0.0, 0.0)
    logarithms = usage.log().cpu()
    usual = {}  # (n,) of each order
    for order in ORDERS:
        look = UNCHANGED.of_reordered(order).on(colour)
        tokens = _tokens(model, [look.apply(tile) for tile in tiles])
        usual[order] = logarithms[tokens].double().numpy()[stained]
    best = max(ORDERS, key=lambda order: usual[order].mean())
    gains = usual[best] - usual[UNPERMUTED]
    gain, error = float(gains.mean()), float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return Usual(best, gain, gain / error if error else 0.0)


def code_usage(model: VQGAN, batches: Iterable[list[np.ndarray]]) -> Tensor:
    """Return the share of each code in stained tissue, (codebook,) float32, of which none is 0.

    Args:
        model: The tokenizer.
        batches: Tiles of one slide each, (height, width, 3) uint8 of equal sizes.
    """
    count = torch.ones(model.architecture.codebook)
    for tiles in batches:
        tokens = _tokens(model, tiles)[_stained(tiles, model.architecture.downscale)]
        count += torch.bincount(tokens, minlength=len(count))
    return (count / count.sum()).to(device_of(model))


def _stained(tiles: list[np.ndarray], f: int) -> np.ndarray:
    """Return which squares of f pixels are not glass, (n,) bool, in the order of the tokens."""
    brightness = np.stack(tiles).mean(axis=3, dtype=np.float32)  # (B, H, W)
    count, height, width = brightness.shape
    squares = brightness.reshape(count, height // f, f, width // f, f)
    return (squares.mean(axis=(2, 4)) < GLASS).ravel()


@torch.no_grad()
def _tokens(model: VQGAN, tiles: list[np.ndarray]) -> Tensor:
    """Return the tokens of tiles at their common statistics, (n,) int64 on the CPU."""
    device = device_of(model)
    rgb = torch.from_numpy(np.stack(tiles)).to(device).permute(0, 3, 1, 2)
    used = model.norms[0].statistics  # mode `window` needs those of each picture afterwards
    model.use(Statistics.SHARED)
    with torch.autocast(device.type, enabled=False):
        pixels = model.pixels(rgb).contiguous(memory_format=memory_format(device))
        tokens = model.quantize.assign(model.latents(pixels)).flatten().cpu()
    model.use(used)
    return tokens
