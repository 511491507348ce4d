"""Position and appearance of nuclei."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from holohisto.demo.groups import SlidePlan
from holohisto.demo.layout import SlideLayout
from holohisto.demo.tubules import CAST, DENSE, DILATED, DISTAL, PROXIMAL

ANGLES = 24
VARIANTS = 6


@dataclass(frozen=True)
class Look:
    """A kind of nucleus: half axes in micrometres, darkness of body and rim, 0 to 1."""

    long: float
    short: float
    body: float
    rim: float
    spread: float = 0.12


TUBULAR = Look(2.9, 2.6, 0.46, 0.34)
CROWDED = Look(2.8, 2.4, 0.62, 0.24)
STROMAL = Look(3.3, 1.35, 0.82, 0.05, 0.25)
ROUND = Look(2.2, 1.9, 0.88, 0.06, 0.2)
TUFT = Look(2.6, 2.0, 0.64, 0.24, 0.2)
FLAT = Look(3.8, 1.1, 0.80, 0.05, 0.15)
MUSCLE = Look(5.0, 1.15, 0.75, 0.05, 0.2)


@dataclass
class Crowd:
    """Nuclei of one look: positions (n, 2) as (y, x), micrometres, and angles (n,), radians."""

    look: Look
    positions: np.ndarray
    angles: np.ndarray


def crowds(plan: SlidePlan, layout: SlideLayout) -> list[Crowd]:
    """Place every nucleus of a slide."""
    rng = plan.rng("nuclei")
    return [*_tubular(rng, layout), *_elsewhere(rng, layout)]


def stain(plan: SlidePlan, layout: SlideLayout) -> np.ndarray:
    """Draw all nuclei: (height, width) uint8 at the slide's pixels, 255 the darkest."""
    width, height = plan.size
    plane = np.zeros((height, width), np.uint8)
    rng = plan.rng("stamps")
    for crowd in crowds(plan, layout):
        stamps = _stamps(rng, crowd.look, plan.mpp)
        half = stamps.shape[-1] // 2
        corners = np.floor(crowd.positions / plan.mpp).astype(int) - half
        turns = np.round(crowd.angles / np.pi * ANGLES).astype(int) % ANGLES
        looks = rng.integers(0, VARIANTS, len(corners))
        for (y, x), turn, look in zip(corners.tolist(), turns, looks, strict=True):
            stamp = stamps[look, turn]
            top, left = max(0, -y), max(0, -x)
            window = plane[y + top : y + 2 * half + 1, x + left : x + 2 * half + 1]
            if window.size:
                visible = stamp[top : top + window.shape[0], left : left + window.shape[1]]
                np.maximum(window, visible, out=window)
    return plane


def _stamps(rng: np.random.Generator, look: Look, mpp: float) -> np.ndarray:
    """Draw VARIANTS nuclei of a look, each at ANGLES angles: (variants, angles, side, side)."""
    half = int(np.ceil(look.long * (1 + 2 * look.spread) / mpp)) + 2
    grid = (np.arange(2 * half + 1) - half) * mpp
    y, x = np.meshgrid(grid, grid, indexing="ij")
    stamps = np.zeros((VARIANTS, ANGLES, 2 * half + 1, 2 * half + 1), np.uint8)
    edge = max(0.35, 0.6 * mpp)
    for variant in range(VARIANTS):
        long, short = (
            a * np.clip(rng.normal(1, look.spread), 0.7, 1.4) for a in (look.long, look.short)
        )
        chromatin = ndimage.gaussian_filter(rng.standard_normal(y.shape), 0.55 / mpp)
        chromatin *= 0.15 / chromatin.std()
        body = look.body * rng.normal(1, 0.1)
        for turn in range(ANGLES):
            angle = turn * np.pi / ANGLES
            u = (np.cos(angle) * x + np.sin(angle) * y) / long
            v = (np.cos(angle) * y - np.sin(angle) * x) / short
            inside = (1 - np.hypot(u, v)) * min(long, short)
            value = body + look.rim * np.exp(-(((inside - 0.5) / 0.45) ** 2)) + chromatin
            value *= np.clip(0.5 + inside / (2 * edge), 0, 1)
            stamps[variant, turn] = np.clip(255 * value, 0, 255)
    return stamps


def _scatter(rng: np.random.Generator, shape: tuple[int, int], spacing: float) -> np.ndarray:
    """Points of a jittered grid (n, 2) as (y, x), about `spacing` apart."""
    y, x = np.meshgrid(*(np.arange(0, side, spacing) for side in shape), indexing="ij")
    points = np.stack([y.ravel(), x.ravel()], axis=1)
    points += rng.uniform(0, spacing, points.shape)
    points = points[(points[:, 0] < shape[0] - 1) & (points[:, 1] < shape[1] - 1)]
    return points[rng.permutation(len(points))]


def _thin(points: np.ndarray, spacing: float) -> np.ndarray:
    """Keep points so that no two are closer than `spacing`, the earlier ones first."""
    if len(points) < 2:
        return points
    keep = np.ones(len(points), bool)
    for a, b in sorted(KDTree(points).query_pairs(spacing)):
        if keep[a]:
            keep[b] = False
    return points[keep]


def _some(rng: np.random.Generator, points: np.ndarray, share: float) -> np.ndarray:
    """Keep a random share of points, so that thinned ones do not look planted."""
    return points[rng.random(len(points)) < share]


def _at(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    return field[points[:, 0].astype(int), points[:, 1].astype(int)]


def _slope(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Unit gradient (n, 2) of a field at points."""
    y = np.clip(points[:, 0].astype(int), 1, field.shape[0] - 2)
    x = np.clip(points[:, 1].astype(int), 1, field.shape[1] - 2)
    slope = np.stack([field[y + 1, x] - field[y - 1, x], field[y, x + 1] - field[y, x - 1]], axis=1)
    return slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-3)


def _to_depth(field: np.ndarray, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Shift points along the gradient to a depth, and keep them on the grid."""
    moved = points + _slope(field, points) * (depth - _at(field, points))[:, None]
    return np.clip(moved, 0, np.array(field.shape) - 1.001)


def _along(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Angles of the field's outline at points."""
    slope = _slope(field, points)
    return np.arctan2(slope[:, 1], -slope[:, 0])


def _tubular(rng: np.random.Generator, layout: SlideLayout) -> list[Crowd]:
    """A ring of nuclei in every epithelium, denser in some kinds."""
    tubules = layout.tubules
    points = _scatter(rng, layout.shape, 3.0)
    depth, label = _at(tubules.depth, points), _at(tubules.label, points)
    near = (label > 0) & (depth > 1) & (_at(layout.tissue, points) > 2)
    points, depth, label = points[near], depth[near], label[near]
    wall, kind = tubules.wall[label], tubules.kind[label]
    target = np.clip(wall * rng.normal(0.42, 0.12, len(wall)), 2.2, np.maximum(wall - 2.0, 2.3))
    near = np.abs(depth - target) < 3
    points = _to_depth(tubules.depth, points[near], target[near])
    kind, label = kind[near], label[near]
    right = _at(tubules.label, points) == label
    points, kind = points[right], kind[right]
    result = []
    for kinds, spacing, look in (
        ((PROXIMAL,), 10.5, TUBULAR),
        ((DISTAL,), 8.0, TUBULAR),
        ((DENSE,), 5.6, CROWDED),
        ((DILATED, CAST), 11.0, FLAT),
    ):
        kept = _thin(points[np.isin(kind, kinds)], spacing)
        angles = _along(tubules.depth, kept)
        if look is TUBULAR:
            angles = rng.uniform(0, np.pi, len(kept))
        result.append(Crowd(look, kept, angles))
    return result


def _elsewhere(rng: np.random.Generator, layout: SlideLayout) -> list[Crowd]:
    """Nuclei of interstitium, infiltrates, tufts, capsules and vessels."""
    free = np.maximum.reduce([layout.glomerulus, layout.vessel, layout.infiltrate])

    def scatter(spacing: float) -> np.ndarray:
        points = _scatter(rng, layout.shape, spacing)
        return points[_at(layout.tissue, points) > 2]

    points = scatter(4.0)
    between = (_at(layout.tubules.depth, points) < -0.9) & (_at(free, points) < -1)
    stroma = _some(rng, _thin(points[between], 6.5), 0.6)
    points = scatter(2.8)
    crowd = _some(rng, _thin(points[_at(layout.infiltrate, points) > 0], 3.7), 0.68)
    points = scatter(3.2)
    living = rng.random(len(points)) > 0.75 * _at(layout.scar, points)
    tuft = _some(rng, _thin(points[(_at(layout.tuft, points) > 1) & living], 5.2), 0.72)
    points = scatter(3.0)
    parietal = _thin(points[np.abs(_at(layout.glomerulus, points) - 1.5) < 1], 15)
    wall = np.minimum(_at(layout.vessel, points), -_at(layout.lumen, points))
    muscle = _thin(points[wall > 2.4], 6.5)
    lining = _thin(points[np.abs(_at(layout.lumen, points) + 1.2) < 0.8], 13)
    return [
        Crowd(STROMAL, stroma, _along(layout.tubules.depth, stroma)),
        Crowd(ROUND, crowd, rng.uniform(0, np.pi, len(crowd))),
        Crowd(TUFT, tuft, rng.uniform(0, np.pi, len(tuft))),
        Crowd(FLAT, parietal, _along(layout.glomerulus, parietal)),
        Crowd(MUSCLE, muscle, _along(layout.vessel, muscle)),
        Crowd(FLAT, lining, _along(layout.lumen, lining)),
    ]
