"""The four groups of the demo cohort, and the plan of each slide."""

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Disease:
    """Traits of a group's kidneys."""

    mpp: float
    glomerulus: float
    """Scale of the glomeruli's size."""
    sclerotic: float
    """Share of scarred glomeruli."""
    collapsed: float
    """Share of glomeruli with a shrunken tuft."""
    mesangium: float
    """Amount of magenta matrix in the tufts, 0 to 1."""
    kinds: tuple[float, float, float, float, float]
    """Shares of tubules: proximal, distal, dense, dilated, with a cast."""
    infiltrates: int
    """Largest number of infiltrates per 0.75 mm2."""


GROUPS = {
    "56Nx": Disease(0.25, 1.16, 0.22, 0.05, 0.40, (0.50, 0.22, 0.14, 0.08, 0.06), 6),
    "DN": Disease(0.25, 1.12, 0.05, 0.00, 0.75, (0.56, 0.22, 0.13, 0.03, 0.06), 5),
    "NEP25": Disease(0.50, 1.00, 0.30, 0.25, 0.45, (0.44, 0.18, 0.12, 0.12, 0.14), 6),
    "normal": Disease(0.25, 1.00, 0.00, 0.00, 0.25, (0.60, 0.23, 0.14, 0.01, 0.02), 3),
}
# Slide by slide: split and animal. Two animals are cut twice, both times for the same split.
SPLITS = {
    "56Nx": (("train", 1), ("train", 1), ("test", 2), ("test", 3)),
    "DN": (("train", 1), ("val", 2), ("test", 3), ("test", 4)),
    "NEP25": (("train", 1), ("train", 2), ("test", 3), ("test", 3)),
    "normal": (("train", 1), ("val", 2), ("test", 3), ("test", 4)),
}
BLACK = ("DN-3", "NEP25-1")
# Slides of a small cohort, in order of preference.
FIRST = (
    "56Nx-1",
    "DN-2",
    "normal-3",
    "NEP25-3",
    "DN-1",
    "56Nx-3",
    "normal-1",
    "DN-3",
    "NEP25-1",
)


@dataclass(frozen=True)
class SlidePlan:
    """One slide to draw, fully determined by these values."""

    slide: str
    group: str
    subject: str
    split: str
    seed: int
    size: tuple[int, int]
    """Width and height, pixels."""
    black: bool
    """Surroundings painted black, as in pre-masked slides."""

    @property
    def disease(self) -> Disease:
        """The group's traits."""
        return GROUPS[self.group]

    @property
    def mpp(self) -> float:
        """Micrometres per pixel."""
        return self.disease.mpp

    def rng(self, purpose: str) -> np.random.Generator:
        """Return the generator for one purpose, so that purposes do not affect each other."""
        return np.random.default_rng([self.seed, zlib.crc32(f"{self.slide}/{purpose}".encode())])


def plans(seed: int, scale: float, slides: int | None = None) -> list[SlidePlan]:
    """Return the plans of `slides` slides (all sixteen if None), group by group.

    Few slides are chosen so that three already hold a train, a val and a test slide, and four
    all groups.
    """
    ranks = {slide: rank for rank, slide in enumerate(FIRST)}
    names = [f"{group}-{number}" for group in SPLITS for number in range(1, 5)]
    chosen = sorted(names, key=lambda name: ranks.get(name, len(FIRST)))[:slides]
    return [_plan(name, seed, scale) for name in names if name in chosen]


def _plan(slide: str, seed: int, scale: float) -> SlidePlan:
    group, number = slide.rsplit("-", 1)
    split, animal = SPLITS[group][int(number) - 1]
    rng = np.random.default_rng([seed, zlib.crc32(slide.encode())])
    size = _size(rng, GROUPS[group].mpp, scale)
    return SlidePlan(slide, group, f"{group}-mouse{animal}", split, seed, size, slide in BLACK)


def _size(rng: np.random.Generator, mpp: float, scale: float) -> tuple[int, int]:
    """Draw a size about 1.03 x 0.76 mm, 1.3 times that for coarse slides; never square or round."""
    stretch = scale * (1.3 if mpp > 0.25 else 1.0)
    sides = (rng.uniform(960, 1090) * stretch / mpp, rng.uniform(700, 810) * stretch / mpp)
    width, height = (int(side) + (int(side) % 16 == 0) for side in sides)
    return width, height
