"""Painting a laid-out slide: stains in optical density, band by band, then light and camera."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from holohisto.demo import nuclei
from holohisto.demo.groups import SlidePlan
from holohisto.demo.layout import SlideLayout
from holohisto.demo.noise import Enlarger, periodic, texture
from holohisto.demo.tubules import CAST, DISTAL, PROXIMAL

BAND = 256
"""Rows painted at a time."""
HALO = 4
"""Rows beside a band that its blur needs."""
# Optical density (natural logarithm) of each stain for red, green, blue.
BLUE = np.array([1.12, 1.02, 0.50])
MAGENTA = np.array([0.44, 1.18, 0.52])
PINK = np.array([[0.38, 0.50, 0.20], [0.24, 0.50, 0.22]])  # violet to pink


@dataclass
class Stains:
    """Stains, blur, noise and illumination of a slide."""

    density: np.ndarray
    """Optical density of blue, magenta and pink, (3 stains, 3 colours)."""
    glass: np.ndarray
    """Colour of empty glass, (3,)."""
    blur: float
    """Deviation of the blur, pixels."""
    noise: float
    light: tuple[float, float]
    """Slope of the illumination over the slide's height and width."""

    @classmethod
    def of(cls, plan: SlidePlan) -> "Stains":
        """Draw a slide's stains: hue and strength differ a little from slide to slide."""
        rng = plan.rng("stains")
        pinkness = rng.uniform(0.1, 0.9)
        pink = PINK[0] * (1 - pinkness) + PINK[1] * pinkness
        density = np.stack([BLUE, MAGENTA, pink]) * rng.normal(1, 0.04, (3, 3))
        density *= rng.normal(1, (0.07, 0.10, 0.10))[:, None]
        glass = rng.uniform(232, 246) + rng.uniform(-2, 3, 3)
        blur = rng.uniform(0.55, 0.95) * (0.25 / plan.mpp) ** 0.5
        light = (float(rng.uniform(-0.03, 0.03)), float(rng.uniform(-0.03, 0.03)))
        return cls(density, glass, float(blur), float(rng.uniform(1.2, 2.4)), light)


def annotation(plan: SlidePlan, layout: SlideLayout) -> Iterator[np.ndarray]:
    """Yield the glomeruli, capsule included, as bands (rows, width) uint8 of 0 and 255."""
    enlarger = Enlarger(layout.shape, 1 / plan.mpp, plan.size[0])
    inside = np.minimum(layout.glomerulus + 0.5, layout.tissue)
    for start in range(0, plan.size[1], BAND):
        rows = np.arange(start, min(start + BAND, plan.size[1]))
        yield np.where(enlarger.smooth(inside, rows) > 0, np.uint8(255), np.uint8(0))


def paint(plan: SlidePlan, layout: SlideLayout) -> Iterator[np.ndarray]:
    """Yield the picture as bands (rows, width, 3) uint8, from top to bottom."""
    painter = _Painter(plan, layout)
    height = plan.size[1]
    for start in range(0, height, BAND):
        stop = min(start + BAND, height)
        rows = np.arange(max(0, start - HALO), min(height, stop + HALO))
        band = painter.band(rows)
        yield band[start - rows[0] : stop - rows[0]]


class _Painter:
    """Paints any rows of a slide."""

    def __init__(self, plan: SlidePlan, layout: SlideLayout) -> None:
        self.plan, self.layout = plan, layout
        self.stains = Stains.of(plan)
        self.nuclei = nuclei.stain(plan, layout)
        self.enlarger = Enlarger(layout.shape, 1 / plan.mpp, plan.size[0])
        rng = plan.rng("textures")
        px = 1 / plan.mpp
        self.textures = {
            "grain": texture(rng, max(1.1 * px, 2.5), 0.5),
            "mottle": texture(rng, 3.2 * px, 0.6),
            "loops": texture(rng, 7.2 * px, 0.34),
            "streaks": texture(rng, 16 * px, 0.7),
            "camera": rng.standard_normal((1024, 1024)).astype(np.float32),
        }
        self.edge = max(0.45, 0.75 * plan.mpp)

    def band(self, rows: np.ndarray) -> np.ndarray:
        """Paint rows: (len(rows), width, 3) uint8."""
        width = self.plan.size[0]
        noise = {name: periodic(tile, rows, width) for name, tile in self.textures.items()}
        tissue = self.enlarger.smooth(self.layout.tissue, rows)
        blue = self.nuclei[rows[0] : rows[-1] + 1] * np.float32(1 / 255)
        magenta, pink = self._tubules(rows, noise, tissue)
        self._vessels(rows, noise, magenta, pink)
        self._infiltrates(rows, noise, magenta, pink)
        self._glomeruli(rows, noise, magenta, pink)
        present = self._step(tissue + 0.3 * noise["mottle"])
        bare = 1 - np.minimum(1.3 * blue, 0.75)  # a nucleus displaces the cytoplasm
        strength = present * self.enlarger.smooth(self.layout.stain, rows)
        blue, magenta, pink = blue * strength, magenta * bare * strength, pink * bare * strength
        return self._expose(rows, noise, tissue, np.stack([blue, magenta, pink]))

    def _step(self, depth: np.ndarray) -> np.ndarray:
        """0 outside, 1 inside, with an edge as soft as the optics."""
        return np.clip(depth * np.float32(0.5 / self.edge) + np.float32(0.5), 0, 1)

    def _line(self, depth: np.ndarray, width: float) -> np.ndarray:
        """1 on the outline, falling off over `width` micrometres."""
        scale = np.float32(-1 / max(width, 0.8 * self.plan.mpp) ** 2)
        return np.exp(depth * depth * scale)

    def _tubules(
        self, rows: np.ndarray, noise: dict[str, np.ndarray], tissue: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Epithelium, lumen, brush border, casts, membranes and the interstitium."""
        tubules = self.layout.tubules
        depth = self.enlarger.smooth(tubules.depth, rows)
        label = self.enlarger.nearest(tubules.label, rows)
        kind, wall, shade = tubules.kind[label], tubules.wall[label], tubules.shade[label]
        mottle, grain = noise["mottle"], noise["grain"]
        proximal, cast = kind == PROXIMAL, kind == CAST
        inside = self._step(depth)
        apical = depth - wall + np.where(proximal, 1.6, 0.6) * mottle + 0.9 * noise["loops"]
        lumen = self._step(apical)
        body = shade * (0.82 + 0.13 * grain + 0.14 * mottle - 0.012 * depth)
        body = np.maximum(body, 0.1) * (1 - lumen)
        content = np.where(proximal, 0.16 + 0.10 * mottle, 0.04)
        body += lumen * np.where(cast, 0.55, np.maximum(content, 0))
        brush = self._line(apical + 0.8, 1.9) * proximal * np.maximum(0.34 + 0.13 * mottle, 0)
        filled = self._step(apical - 1.6 + 0.8 * noise["streaks"]) * cast
        magenta = brush + filled * (0.52 + 0.04 * noise["streaks"] + 0.02 * grain)
        spots = np.clip(0.9 * grain + 1.1 * mottle - 0.35, 0, 1.2) * tubules.droplets[label]
        magenta += 0.05 + (0.02 * grain + 0.38 * spots) * (1 - lumen)
        slit = self._step((noise["loops"] - 0.55) * 1.5) * self._step(-depth - 1.2)
        slit *= self._step(tissue - 6)
        fibre = 0.30 + 0.10 * mottle + 0.07 * noise["streaks"]
        fibre += 0.35 * self._line(tissue - 3, 2.4)
        pink = inside * body + (1 - inside) * np.maximum(fibre, 0.05) * (1 - 0.9 * slit)
        magenta = inside * magenta + (1 - inside) * (0.14 + 0.03 * mottle) * (1 - slit)
        membrane = np.where(kind == DISTAL, 0.5, 0.72) * (label > 0)
        magenta += membrane * self._line(depth - 0.1, 0.52)
        magenta += 0.25 * self._line(tissue - 2, 1.6)
        return magenta, pink

    def _vessels(
        self, rows: np.ndarray, noise: dict[str, np.ndarray], magenta: np.ndarray, pink: np.ndarray
    ) -> None:
        depth = self.enlarger.smooth(self.layout.vessel, rows)
        if depth.max() < -3:
            return
        inner = self.enlarger.smooth(self.layout.lumen, rows) + 0.8 * noise["streaks"]
        inside, empty = self._step(depth), self._step(inner)
        thick = depth - inner > 4.5
        fibres = np.sin(2.1 * inner + 1.3 * noise["loops"] + 0.8 * noise["streaks"])
        muscle = np.where(thick, 0.72 + 0.16 * fibres + 0.05 * noise["grain"], 0.5)
        matrix = np.where(thick, 0.20 + 0.09 * fibres, 0.22)
        matrix += 0.38 * self._line(inner + 0.8, 0.8) + 0.15 * self._line(depth, 1.2)
        for plane, value in ((pink, muscle), (magenta, matrix)):
            plane *= 1 - inside
            plane += inside * (value * (1 - empty) + 0.02 * empty)

    def _infiltrates(
        self, rows: np.ndarray, noise: dict[str, np.ndarray], magenta: np.ndarray, pink: np.ndarray
    ) -> None:
        depth = self.enlarger.smooth(self.layout.infiltrate, rows)
        if depth.max() < -3:
            return
        inside = self._step(depth)
        pink *= 1 - inside
        pink += inside * np.maximum(0.34 + 0.16 * noise["mottle"], 0)
        magenta *= 1 - inside
        magenta += inside * np.maximum(0.16 + 0.12 * noise["loops"] + 0.05 * noise["mottle"], 0)

    def _glomeruli(
        self, rows: np.ndarray, noise: dict[str, np.ndarray], magenta: np.ndarray, pink: np.ndarray
    ) -> None:
        """Capsule, urinary space and the tuft: loops around pale lumina in magenta matrix."""
        depth = self.enlarger.smooth(self.layout.glomerulus, rows)
        if depth.max() < -3:
            return
        loops, mottle = noise["loops"], noise["mottle"]
        inside = self._step(depth)
        outline = self.enlarger.smooth(self.layout.tuft, rows) + 1.3 * loops
        tuft = self._step(outline)
        matrix = self.enlarger.smooth(self.layout.matrix, rows)
        scar = self.enlarger.smooth(self.layout.scar, rows)
        patent = loops - (0.6 * matrix - 0.05 + 3.5 * scar) - 0.25 * noise["streaks"]
        lumen = self._step(2.2 * patent)
        wall = self._line(1.3 * patent, 0.5)
        core = 0.8 * noise["streaks"] - 0.5 * loops - 0.3 * mottle
        heart = self._step(1.5 * (core + 1.9 * matrix - 1.15 + 2.5 * scar))
        body = (0.36 + 0.12 * mottle + 0.10 * noise["grain"]) * (1 - lumen)
        fill = (0.07 + (0.38 + 0.10 * scar) * heart + 0.03 * noise["streaks"]) * (1 - lumen)
        fill += 0.3 * self._line(outline - 0.6, 0.6)
        fill += 0.46 * wall * (1 - 0.8 * scar)
        rim = self._line(depth - 0.5, 0.9)
        for plane, value in ((pink, body), (magenta, fill)):
            plane *= 1 - inside
            plane += inside * (value * tuft + 0.02)
        magenta += 0.62 * rim
        pink += 0.25 * rim

    def _expose(
        self, rows: np.ndarray, noise: dict[str, np.ndarray], tissue: np.ndarray, planes: np.ndarray
    ) -> np.ndarray:
        """Turn stain densities into the colours of a camera picture."""
        width, height = self.plan.size
        slope_y, slope_x = self.stains.light
        light = 1 + slope_y * (rows / height - 0.5)[:, None]
        light = light + slope_x * (np.arange(width) / width - 0.5)[None, :]
        picture = np.empty((*tissue.shape, 3), np.uint8)
        outside = tissue < -6 if self.plan.black else None
        for colour in range(3):
            density = np.tensordot(self.stains.density[:, colour].astype(np.float32), planes, 1)
            value = np.exp(-density) * (light * self.stains.glass[colour]).astype(np.float32)
            value = ndimage.gaussian_filter(value, self.stains.blur, truncate=3.0)
            value += self.stains.noise * np.roll(noise["camera"], 211 * colour, axis=1)
            picture[..., colour] = np.clip(value + 0.5, 0, 255)
        if outside is not None:
            picture[outside] = 0
        return picture
