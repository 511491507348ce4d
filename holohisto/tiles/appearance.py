"""Random changes of stain, brightness and focus, as between laboratories and scanners."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from skimage.color import rgb_from_hed

from holohisto.config.training import Augmentation, ColourAugmentation

Matrix = tuple[tuple[float, float, float], ...]
NO_STAIN: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)


@dataclass(frozen=True)
class Strength:
    """Range of random appearances; 0 switches a change off."""

    stain: float
    """Largest relative change of a stain's optical density."""
    brightness: float
    """Largest relative change of brightness."""
    blur: float
    """Largest standard deviation of the blur, working pixels."""

    @classmethod
    def of(cls, options: ColourAugmentation) -> "Strength":
        """Return the strength that a section of the configuration sets, without blur by default."""
        blur = options.blur_sigma if isinstance(options, Augmentation) else 0.0
        return cls(options.stain_jitter, options.brightness_jitter, blur)


@dataclass(frozen=True)
class Appearance:
    """A blur, then a linear map of optical densities, then a change of brightness.

    The map scales the densities of haematoxylin, of the counterstain and of the residual (Ruifrok
    and Johnston 2001), separately and together, as other dyes and other thicknesses of the section
    do (Tellez et al. 2018, doi.org/10.1109/TMI.2018.2820199).
    """

    stain: Matrix = NO_STAIN
    """Matrix (3, 3) that a row of densities (red, green, blue) is multiplied by."""
    brightness: float = 1.0
    """Factor of the transmitted light."""
    blur: float = 0.0
    """Standard deviation of the Gaussian blur, working pixels."""

    @classmethod
    def draw(cls, strength: Strength, random: np.random.Generator) -> "Appearance":
        """Return a random appearance within `strength`; half of them have no blur."""
        together, apart = random.uniform(-1, 1), random.uniform(-1, 1, 3)
        scale = 1 + strength.stain * (together + apart) / 2
        basis = rgb_from_hed / np.linalg.norm(rgb_from_hed, axis=1, keepdims=True)
        return cls(
            stain=_matrix(np.linalg.inv(basis) @ np.diag(scale) @ basis),
            brightness=1 + strength.brightness * float(random.uniform(-1, 1)),
            blur=max(0.0, strength.blur * float(random.uniform(-1, 1))),  # half have none
        )

    def then(self, other: "Appearance") -> "Appearance":
        """Return this appearance followed by another, as one."""
        return Appearance(
            _matrix(np.array(self.stain) @ np.array(other.stain)),
            self.brightness * other.brightness,
            math.hypot(self.blur, other.blur),
        )

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
            and are only approximate.
        """
        if self.blur:
            rgb = self._blurred(rgb)
        if self.stain == NO_STAIN and self.brightness == 1:
            return rgb
        changed = _DENSITY[rgb].reshape(-1, 3) @ self._stain
        np.exp(np.negative(changed, out=changed), out=changed)
        changed *= 256 * self.brightness
        changed -= self.brightness - 0.5  # black stays black; 0.5 to round
        return np.clip(changed, 0, 255, out=changed).astype(np.uint8).reshape(rgb.shape)

    def _blurred(self, rgb: np.ndarray) -> np.ndarray:
        offsets = np.arange(-self.reach, self.reach + 1)
        kernel = np.exp(-0.5 * (offsets / self.blur) ** 2)
        kernel /= kernel.sum()
        out = rgb.astype(np.float32)
        for axis in (0, 1):
            out = ndimage.correlate1d(out, kernel, axis=axis, mode="nearest")
        return np.clip(out + 0.5, 0, 255).astype(np.uint8)

    @cached_property
    def _stain(self) -> np.ndarray:
        return np.array(self.stain, np.float32)


def _matrix(values: np.ndarray) -> Matrix:
    rounded = np.round(values, 9) + 0.0  # so that a rounding error counts as no change
    return tuple((float(a), float(b), float(c)) for a, b, c in rounded)
