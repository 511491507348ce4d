"""Packing tubules: capsules of random length, grown until they meet, with rounded corners."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from holohisto.demo.groups import SlidePlan
from holohisto.demo.noise import distance, value_noise

PROXIMAL, DISTAL, DENSE, DILATED, CAST = range(5)
REACH = 30
"""No tubule is wider than twice this, micrometres."""
CORNER = 5.0
"""Radius of the rounded corners, micrometres."""


@dataclass
class Tubules:
    """Tubules on the grid: fields (height, width), and one value per tubule in the tables."""

    depth: np.ndarray
    """Depth inside the basement membrane, micrometres, negative between tubules."""
    label: np.ndarray
    """Number of the tubule a cell belongs to, int32; 0 is none."""
    kind: np.ndarray
    wall: np.ndarray
    """Height of the epithelium, micrometres."""
    shade: np.ndarray
    """Factor of the cytoplasm's stain."""
    droplets: np.ndarray
    """Amount of magenta droplets in the cytoplasm."""


def pack_tubules(plan: SlidePlan, taken: np.ndarray) -> Tubules:
    """Fill the free cells of a grid with tubules.

    Args:
        plan: The slide.
        taken: Depth inside all other structures, micrometres, (height, width) float32.
    """
    rng = plan.rng("tubules")
    label, gaps = _grow(rng, taken)
    label[(gaps > 7) | (taken > -0.5)] = 0
    edge = np.zeros(label.shape, bool)
    for step in ((0, 1), (1, 0)):
        other = np.roll(label, step, (0, 1))
        edge |= label != other
    inside = distance(~edge & (label > 0))
    # Opening by CORNER rounds the corners, where the interstitium then shows.
    core = inside > CORNER
    depth = np.where(core, inside, CORNER - distance(~core))
    depth -= 0.45 + 0.3 * np.clip(value_noise(rng, label.shape, 90), -1, 3)
    depth = ndimage.gaussian_filter(depth.astype(np.float32), 1.1)
    return _describe(plan, rng, depth, label)


def _grow(rng: np.random.Generator, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Throw spines, long ones first; a cell belongs to the spine nearest to it, less its radius."""
    shape = taken.shape
    label = np.zeros(shape, np.int32)
    gaps = np.where(taken > -80, -taken, 80).astype(np.float32)
    warp = [4.0 * value_noise(rng, (shape[0], shape[1]), 45) for _ in range(2)]
    number = 0
    for length, radius, share in (
        (75, 15, 0.7),
        (45, 16, 1.5),
        (22, 18, 3),
        (8, 18, 5),
        (0, 15, 10),
        (0, 11, 12),
        (0, 8, 12),
    ):
        for _ in range(int(share * taken.size / 1000)):
            y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
            own = radius * rng.uniform(0.85, 1.25)
            half = 0.5 * length * rng.uniform(0.6, 1.3)
            angle = rng.uniform(0, np.pi)
            dy, dx = half * np.sin(angle), half * np.cos(angle)
            if _fits(gaps, y, x, dy, dx, own):
                number += 1
                _add(label, gaps, warp, (y, x, dy, dx, own), number)
    return label, gaps


def _fits(gaps: np.ndarray, y: float, x: float, dy: float, dx: float, radius: float) -> bool:
    for t in (0, -1, 1, -0.5, 0.5):
        i, j = int(y + t * dy), int(x + t * dx)
        inside = 0 <= i < gaps.shape[0] and 0 <= j < gaps.shape[1]
        if (not inside and t == 0) or (inside and gaps[i, j] < 0.8 * radius):
            return False
        if dy == dx == 0:
            break
    return True


def _add(
    label: np.ndarray,
    gaps: np.ndarray,
    warp: list[np.ndarray],
    spine: tuple[float, float, float, float, float],
    number: int,
) -> None:
    """Assign to a spine the cells that are nearest to it."""
    y, x, dy, dx, radius = spine
    reach = REACH + 5
    window = tuple(
        slice(max(0, int(centre - abs(half) - reach)), int(centre + abs(half) + reach))
        for centre, half in ((y, dy), (x, dx))
    )
    near = gaps[window]
    py = np.arange(window[0].start, window[0].start + near.shape[0], dtype=np.float32)[:, None]
    px = np.arange(window[1].start, window[1].start + near.shape[1], dtype=np.float32)[None, :]
    py, px = py - np.float32(y) + warp[0][window], px - np.float32(x) + warp[1][window]
    squared = dy * dy + dx * dx
    along = np.clip((py * dy + px * dx) / squared, -1, 1) if squared else np.float32(0)
    gap = np.hypot(py - along * np.float32(dy), px - along * np.float32(dx)) - np.float32(radius)
    closer = gap < near
    near[closer] = gap[closer]
    label[window][closer] = number


def _describe(
    plan: SlidePlan, rng: np.random.Generator, depth: np.ndarray, label: np.ndarray
) -> Tubules:
    """Choose each tubule's kind, epithelium and shade; kinds come in neighbourhoods."""
    count = int(label.max())
    numbers = np.arange(1, count + 1)
    deepest = np.zeros(count + 1, np.float32)
    region = np.zeros(count + 1)
    if count:
        deepest[1:] = ndimage.maximum(depth, label, numbers)
        field = value_noise(rng, (label.shape[0], label.shape[1]), 160)
        cells = np.maximum(np.bincount(label.ravel(), minlength=count + 1), 1)
        region = np.bincount(label.ravel(), field.ravel(), count + 1) / cells
    shares = np.cumsum(plan.disease.kinds)
    rank = np.argsort(np.argsort(rng.random(count + 1) + 0.18 * region))
    kind = np.searchsorted(shares / shares[-1], (rank + 0.5) / (count + 1), side="right").astype(
        np.uint8
    )
    kind[(kind == DILATED) & (deepest < 11)] = DISTAL
    low = np.array([0.68, 0.42, 0.5, 0.0, 0.25])[kind]
    high = np.array([0.95, 0.62, 0.8, 0.0, 0.45])[kind]
    wall = deepest * rng.uniform(low, high)
    wall = np.where(kind == DILATED, rng.uniform(3.5, 5.5, count + 1), wall)
    shade = np.array([1.0, 0.75, 0.95, 0.85, 0.85])[kind] * rng.normal(1, 0.15, count + 1)
    droplets = np.where(kind == PROXIMAL, rng.gamma(0.6, 0.5, count + 1), 0)
    droplets = np.clip(droplets, 0, 1.2).astype(np.float32)
    wall, shade = np.maximum(wall, 3).astype(np.float32), shade.astype(np.float32)
    return Tubules(depth, label, kind, wall, shade, droplets)
