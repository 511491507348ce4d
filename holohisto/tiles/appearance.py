"""Random changes of stain, brightness and focus, as between laboratories and scanners."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations

import numpy as np

from holohisto.config.augmentation import Augmentation, ColourAugmentation
from holohisto.tiles.colour import (
    COMMON,
    LEAST_SPREAD,
    Colour,
    Matrix,
    Triple,
    mapped,
    matrix,
    triple,
)

Order = tuple[int, int, int]
"""The channel that each of red, green and blue is taken from."""
UNPERMUTED: Order = (0, 1, 2)
ORDERS: tuple[Order, ...] = tuple(permutations((0, 1, 2)))  # pyright: ignore[reportAssignmentType]
"""All six, `UNPERMUTED` first."""
UNMIXED: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
LEAST_SUM = 0.5
"""Smallest sum of a channel's shares in a mixture. Densities of tissue rise and fall together in
all channels, so a smaller sum would leave noise."""
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)


@dataclass(frozen=True)
class Strength:
    """Range of random appearances; 0 switches a change off."""

    stain: float = 0.0
    """Largest relative change of contrast and density of each colour, after standardisation."""
    brightness: float = 0.0
    """Largest relative change of brightness."""
    blur: float = 0.0
    """Largest standard deviation of the blur, working pixels."""
    mixing: float = 0.0
    """Largest share of one colour's density that is added to another's, in half of the cases."""
    grey: float = 0.0
    """Probability of a single mixture in all three colours."""
    permutation: float = 0.0
    """Probability that the colours are permuted."""

    @classmethod
    def of(cls, options: ColourAugmentation) -> "Strength":
        """Return the strength that a section of the configuration sets, without blur by default."""
        return cls(
            stain=options.stain_jitter,
            brightness=options.brightness_jitter,
            blur=options.blur_sigma if isinstance(options, Augmentation) else 0.0,
            mixing=options.channel_mixing,
            grey=options.greyscale_share,
            permutation=options.permutation_share,
        )


@dataclass(frozen=True)
class Appearance:
    """A blur, then another stain brought to the common one, then small changes of it.

    A slide that is stained otherwise has other optical densities, here linear mixtures of its own
    (Beer and Lambert). `Tissue` would bring these to the common stain, so mixtures are, too. What
    such a standardisation misses is imitated by small changes of contrast and density.
    """

    mixing: Matrix = UNMIXED
    """Shares of the densities (red, green, blue) in each new density."""
    contrast: Triple = (1.0, 1.0, 1.0)
    """Factor of the deviations from the common mean density."""
    shift: Triple = (0.0, 0.0, 0.0)
    """Density that is added."""
    blur: float = 0.0
    """Standard deviation of the Gaussian blur, working pixels."""
    tissue: Colour = COMMON
    """Colour of the tissue that is changed, which determines how mixtures are standardised."""

    @classmethod
    def draw(
        cls, strength: Strength, random: np.random.Generator, order: Order | None = None
    ) -> "Appearance":
        """Return a random appearance within `strength`; half of them have no blur.

        Args:
            strength: Range of the changes.
            random: Source of randomness; `order` does not change what is drawn from it.
            order: Order of the colours; None: random, permuted as often as `strength` allows.
        """
        mixing = _mixture(strength, random, order)
        contrast = 1 + strength.stain * random.uniform(-1, 1, 3)
        shift = strength.stain * COMMON.spread * random.uniform(-1, 1, 3)
        shift -= math.log(1 + strength.brightness * float(random.uniform(-1, 1)))
        return cls(
            mixing=matrix(mixing.tolist()),
            contrast=triple(contrast.tolist()),
            shift=triple(shift.tolist()),
            blur=max(0.0, strength.blur * float(random.uniform(-1, 1))),  # half have none
        )

    def on(self, tissue: Colour) -> "Appearance":
        """Return this appearance for tissue of a slide's colour."""
        return replace(self, tissue=tissue)

    def of_reordered(self, order: Order) -> "Appearance":
        """Return this appearance of tissue whose colours are first taken in another order."""
        mixing = np.zeros((3, 3))
        mixing[:, list(order)] = self.mixing
        return replace(self, mixing=matrix(mixing.tolist()))

    @property
    def reach(self) -> int:
        """Radius in pixels of the surroundings on which a pixel depends."""
        return math.ceil(3 * self.blur)

    def apply(self, rgb: np.ndarray) -> np.ndarray:
        """Apply the changes to pixels.

        Args:
            rgb: (height, width, 3) uint8.

        Returns:
            The same shape and type; the outermost `reach` pixels depend on pixels beyond the array
            and are only approximate. White stays white.
        """
        if self.blur:
            rgb = self._blurred(rgb)
        if not self.recolours:
            return rgb
        density = _DENSITY[rgb].reshape(-1, 3) @ self._mixing  # (H * W, 3)
        changed = mapped(np.maximum(density, 0, out=density), *self.line)
        np.exp(np.negative(changed, out=changed), out=changed)
        changed *= 256
        changed -= 0.5  # one less, as in the density, and 0.5 to round
        return np.clip(changed, 0, 255, out=changed).astype(np.uint8).reshape(rgb.shape)

    def _blurred(self, rgb: np.ndarray) -> np.ndarray:
        from scipy import ndimage

        out = rgb.astype(np.float32)
        for axis in (0, 1):
            out = ndimage.correlate1d(out, self.kernel, axis=axis, mode="nearest")
        return np.clip(out + 0.5, 0, 255).astype(np.uint8)

    @property
    def kernel(self) -> np.ndarray:
        """Weights of the blur along each axis, (2 * reach + 1,) float64; `blur` is above 0."""
        offsets = np.arange(-self.reach, self.reach + 1)
        kernel = np.exp(-0.5 * (offsets / self.blur) ** 2)
        return kernel / kernel.sum()

    @property
    def recolours(self) -> bool:
        """Whether colours are changed."""
        return self != Appearance(blur=self.blur, tissue=self.tissue)

    @cached_property
    def _mixing(self) -> np.ndarray:
        """Matrix that a row of densities is multiplied by, (3, 3) float32."""
        return np.array(self.mixing, np.float32).T

    @cached_property
    def line(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means of the mixed densities, slopes, and what the means become; each (3,) float64."""
        mixing = np.array(self.mixing)
        mixed = np.sqrt(np.diag(mixing @ self.tissue.covariance @ mixing.T))
        stretch = self.tissue.spread / np.maximum(mixed, LEAST_SPREAD)
        mean = mixing @ self.tissue.mean
        return mean, self.contrast * stretch, np.array(self.tissue.mean) + self.shift


UNCHANGED = Appearance()
"""The appearance that leaves a slide's stain, brightness and sharpness unchanged."""


def _mixture(strength: Strength, random: np.random.Generator, given: Order | None) -> np.ndarray:
    """Draw the shares of the three densities in each new one, (3, 3)."""
    others = strength.mixing * random.uniform(-1, 1, (3, 3)) * (random.random() < 0.5)
    shares = random.dirichlet(np.ones(3))
    grey, permuted = random.random(2) < (strength.grey, strength.permutation)
    order = random.permutation(3)
    mixing = np.eye(3) + others
    too_small = mixing.sum(axis=1) < LEAST_SUM
    mixing[too_small] = np.eye(3)[too_small] + np.abs(others[too_small])
    if grey:
        mixing = np.repeat((shares @ mixing)[None], 3, axis=0)
    if given is not None:
        return mixing[list(given)]
    return mixing[order] if permuted else mixing
