"""The geometry of a demo slide: distance fields on a grid of one micrometre."""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from holohisto.demo.groups import SlidePlan
from holohisto.demo.noise import distance, value_noise
from holohisto.demo.tubules import Tubules, pack_tubules

FAR = np.float32(-1e3)


@dataclass
class Blob:
    """A wavy ellipse: a glomerulus, a vessel, an infiltrate. Lengths in micrometres."""

    y: float
    x: float
    radius: float
    waves: np.ndarray
    """Amplitude (share of the radius) and phase of the outline's waves 2, 3, ...: (n, 2)."""
    squash: float = 1.0
    angle: float = 0.0
    traits: dict[str, float] = field(default_factory=dict)

    def window(self, shape: tuple[int, int], margin: float) -> tuple[slice, slice]:
        """Return the slices of a grid (height, width) that hold the blob and a margin."""
        reach = self.radius * 1.45 / np.sqrt(self.squash) + margin
        return (
            slice(max(0, int(self.y - reach)), max(0, min(shape[0], int(self.y + reach) + 1))),
            slice(max(0, int(self.x - reach)), max(0, min(shape[1], int(self.x + reach) + 1))),
        )

    def depth(self, window: tuple[slice, slice]) -> np.ndarray:
        """Return the depth inside the outline at the window's cells, negative outside."""
        dy = np.arange(window[0].start, window[0].stop)[:, None] + 0.5 - self.y
        dx = np.arange(window[1].start, window[1].stop)[None, :] + 0.5 - self.x
        sine, cosine = np.sin(self.angle), np.cos(self.angle)
        along = (cosine * dx + sine * dy) * np.sqrt(self.squash)
        across = (cosine * dy - sine * dx) / np.sqrt(self.squash)
        theta = np.arctan2(across, along)
        radius = np.full(theta.shape, float(self.radius))
        for order, (amplitude, phase) in enumerate(self.waves, start=2):
            radius += self.radius * amplitude * np.cos(order * theta + phase)
        return (radius - np.hypot(along, across)).astype(np.float32)


@dataclass
class SlideLayout:
    """The fields of a slide, each (height, width) float32 on the grid, in micrometres.

    A field is the depth inside its structure, negative outside.
    """

    tissue: np.ndarray
    glomerulus: np.ndarray
    tuft: np.ndarray
    scar: np.ndarray
    """Amount of scarring inside tufts, 0 to 1."""
    matrix: np.ndarray
    """Amount of mesangial matrix inside tufts, 0 to 1."""
    vessel: np.ndarray
    lumen: np.ndarray
    """Depth inside the lumina of vessels."""
    infiltrate: np.ndarray
    tubules: Tubules
    glomeruli: list[Blob]
    stain: np.ndarray
    """Factor of the stain's strength: sections are unevenly thick."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the grid."""
        height, width = self.tissue.shape
        return height, width


def lay_out(plan: SlidePlan) -> SlideLayout:
    """Draw the geometry of a slide."""
    shape = tuple(int(np.ceil(side * plan.mpp)) + 1 for side in plan.size[::-1])
    shape = (shape[0], shape[1])
    tissue = _tissue(plan, shape)
    glomeruli = _glomeruli(plan, tissue)
    glomerulus, tuft, scar, matrix = _tufts(plan, shape, glomeruli)
    room = np.maximum(glomerulus, 12 - tissue)  # depth inside occupied cells
    vessel, lumen = _vessels(plan, shape, room)
    infiltrate = _infiltrates(plan, shape, np.maximum(room, vessel))
    taken = np.maximum.reduce([glomerulus, vessel, infiltrate, 5 - tissue])
    return SlideLayout(
        tissue,
        glomerulus,
        tuft,
        scar,
        matrix,
        vessel,
        lumen,
        infiltrate,
        pack_tubules(plan, taken),
        glomeruli,
        1 + 0.11 * value_noise(plan.rng("stain"), shape, 180),
    )


def _tissue(plan: SlidePlan, shape: tuple[int, int]) -> np.ndarray:
    """A rounded, ragged piece of tissue that nearly fills the slide."""
    rng = plan.rng("tissue")
    margin = 0.05 * min(shape)
    y, x = (np.abs(np.arange(side) + 0.5 - side / 2) for side in shape)
    corner = 0.3 * min(shape)
    dy = (y - (shape[0] / 2 - margin - corner))[:, None]
    dx = (x - (shape[1] / 2 - margin - corner))[None, :]
    outside = np.hypot(np.maximum(dy, 0), np.maximum(dx, 0))
    depth = corner - (outside + np.minimum(np.maximum(dy, dx), 0))
    depth += 0.035 * min(shape) * value_noise(rng, shape, 0.4 * min(shape))
    depth += 3.5 * value_noise(rng, shape, 35) + 0.6 * value_noise(rng, shape, 9)
    return depth.astype(np.float32)


def _waves(rng: np.random.Generator, strength: float, count: int = 5) -> np.ndarray:
    amplitude = rng.normal(0, strength, count) / np.arange(1, count + 1)
    return np.stack([amplitude, rng.uniform(0, 2 * np.pi, count)], axis=1)


def _glomeruli(plan: SlidePlan, tissue: np.ndarray) -> list[Blob]:
    """Throw glomeruli on the tissue, the first ones on its edge; none touches another."""
    rng, disease = plan.rng("glomeruli"), plan.disease
    count = max(1, round(rng.uniform(14, 19) * tissue.size / 780_000))
    cut = min(2, count // 6)
    placed: list[Blob] = []
    cells = np.argwhere(tissue > 0)[:, :2]
    for cell in cells[rng.integers(0, len(cells), 6000)]:
        if len(placed) == count:
            break
        y, x = cell + rng.uniform(0, 1, 2)
        radius = float(np.clip(rng.normal(41, 6.5), 30, 52) * disease.glomerulus)
        depth = tissue[tuple(cell)]
        edge = len(placed) < cut
        if (edge and not 0.05 * radius < depth < 0.5 * radius) or (not edge and depth < radius + 6):
            continue
        traits = {
            "scar": float(rng.random() < disease.sclerotic),
            "collapse": float(rng.random() < disease.collapsed),
            "matrix": float(np.clip(disease.mesangium + rng.normal(0, 0.12), 0.05, 1)),
        }
        squash, angle = rng.uniform(0.76, 1.0), rng.uniform(0, np.pi)
        blob = Blob(y, x, min(radius, 57.0), _waves(rng, 0.065), squash, angle, traits)
        if all(np.hypot(y - b.y, x - b.x) > 1.1 * (radius + b.radius) + 8 for b in placed):
            placed.append(blob)
    return placed


def _tufts(
    plan: SlidePlan, shape: tuple[int, int], glomeruli: list[Blob]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Depth inside capsules and tufts, scarring and matrix."""
    rng = plan.rng("tufts")
    glomerulus, tuft = np.full(shape, FAR), np.full(shape, FAR)
    scar, matrix = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    lobes, gates = value_noise(rng, shape, 26), value_noise(rng, shape, 40)
    for blob in glomeruli:
        window = blob.window(shape, 12)
        depth = blob.depth(window)
        glomerulus[window] = np.maximum(glomerulus[window], depth)
        collapse = blob.traits["collapse"]
        # The urinary space is wide on one side and nearly closed at the vascular pole.
        pole = rng.uniform(0, 2 * np.pi)
        dy = np.arange(window[0].start, window[0].stop)[:, None] - blob.y
        dx = np.arange(window[1].start, window[1].stop)[None, :] - blob.x
        lean = (dy * np.sin(pole) + dx * np.cos(pole)) / blob.radius
        gap = blob.radius * (0.035 + 0.2 * collapse + rng.uniform(0.01, 0.10) * (1 + lean))
        inner = depth - gap - 1.5 * np.abs(lobes[window])
        # Clefts between lobules: along the noise's zero lines, closed where another noise is high.
        cleft = 7 * np.abs(lobes[window]) - 1.3 + 25 * np.clip(gates[window], 0, 1) + 6 * collapse
        inner = np.minimum(inner, cleft)
        tuft[window] = np.maximum(tuft[window], inner)
        inside = depth > -3
        matrix[window][inside] = blob.traits["matrix"]
        if blob.traits["scar"] or collapse:
            spread = rng.uniform(-0.9, 0.6) + 0.8 * collapse
            wave = np.clip(spread + 1.2 * lean + 0.5 * lobes[window], 0, 1)
            scar[window][inside] = wave[inside]
    return glomerulus, tuft, scar, ndimage.gaussian_filter(matrix, 1.0)


def _move_clear(rng: np.random.Generator, room: np.ndarray, blob: Blob, gap: float) -> Blob | None:
    """Move the blob to a random cell where it touches no structure; None without such a cell."""
    cells = np.argwhere(room < -gap - blob.radius * 0.9)
    if len(cells) == 0:
        return None
    blob.y, blob.x = cells[rng.integers(len(cells))] + 0.5
    return blob


def _vessels(
    plan: SlidePlan, shape: tuple[int, int], room: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Arteries with a thick wall and veins with a thin one."""
    rng = plan.rng("vessels")
    vessel, lumen = np.full(shape, FAR), np.full(shape, FAR)
    share = room.size / 780_000
    radii = [(rng.uniform(18, 34), True) for _ in range(round(6 * share) + 1)]
    radii += [(rng.uniform(16, 52), False) for _ in range(round(6 * share))]
    for radius, artery in radii:
        blob = Blob(
            0,
            0,
            radius,
            _waves(rng, 0.05 if artery else 0.14),
            rng.uniform(0.6, 0.95),
            rng.uniform(0, np.pi),
        )
        taken = np.maximum(room, vessel)
        clearance = -distance(taken < 0)
        if _move_clear(rng, clearance, blob, 4) is None:
            continue
        window = blob.window(shape, 12)
        depth = blob.depth(window)
        wall = radius * rng.uniform(0.36, 0.5) if artery else 2.5
        vessel[window] = np.maximum(vessel[window], depth)
        lumen[window] = np.maximum(lumen[window], depth - wall)
    return vessel, lumen


def _infiltrates(plan: SlidePlan, shape: tuple[int, int], room: np.ndarray) -> np.ndarray:
    """Crowds of small dark nuclei, most of them beside a vessel or a glomerulus."""
    rng = plan.rng("infiltrates")
    depth = np.full(shape, FAR)
    count = round((2 + rng.integers(0, plan.disease.infiltrates + 1)) * room.size / 780_000)
    for _ in range(count):
        blob = Blob(
            0,
            0,
            rng.uniform(20, 46),
            _waves(rng, 0.22),
            rng.uniform(0.5, 0.95),
            rng.uniform(0, np.pi),
        )
        cells = np.argwhere((room < -4) & (room > -60))
        blob.y, blob.x = cells[rng.integers(len(cells))] if len(cells) else (0, 0)
        window = blob.window(shape, 12)
        depth[window] = np.maximum(depth[window], blob.depth(window))
    ragged = depth + 4 * value_noise(rng, shape, 14)
    return np.minimum(ragged, -room - 1).astype(np.float32)
