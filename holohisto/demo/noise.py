"""Seeded textures, and smooth enlargement of fields drawn on a coarse grid."""

import numpy as np
from scipy import ndimage

from holohisto.runtime.arithmetic import ceil_div

PERIOD = 1024


def value_noise(rng: np.random.Generator, shape: tuple[int, int], wavelength: float) -> np.ndarray:
    """Return smooth noise (height, width) float32 of mean about 0 and standard deviation 1.

    Args:
        rng: Source of randomness.
        shape: Height and width, cells.
        wavelength: Typical distance from hill to hill, cells.
    """
    cell = max(wavelength / 2, 1.0)
    coarse = rng.standard_normal([int(side / cell) + 4 for side in shape]).astype(np.float32)
    rows, columns = (np.arange(side, dtype=np.float32) / cell + 1 for side in shape)
    noise = ndimage.map_coordinates(
        coarse, np.meshgrid(rows, columns, indexing="ij"), order=3, mode="nearest"
    )
    return (noise / 0.62).astype(np.float32)  # cubic value noise has about this deviation


def texture(rng: np.random.Generator, wavelength: float, width: float = 0.35) -> np.ndarray:
    """Return periodic band-pass noise (PERIOD, PERIOD) float32, mean 0, deviation 1.

    Args:
        rng: Source of randomness.
        wavelength: Middle of the band, pixels.
        width: Width of the band relative to its frequency; large values give grain.
    """
    spectrum = np.fft.rfft2(rng.standard_normal((PERIOD, PERIOD)))
    frequency = np.hypot(np.fft.fftfreq(PERIOD)[:, None], np.fft.rfftfreq(PERIOD)[None, :])
    centre = 1 / wavelength
    spectrum *= np.exp(-0.5 * ((frequency - centre) / (width * centre)) ** 2)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (PERIOD, PERIOD))
    return (noise / noise.std()).astype(np.float32)


def periodic(tile: np.ndarray, rows: np.ndarray, width: int) -> np.ndarray:
    """Return rows (len(rows), width) of a plane paved with a periodic tile."""
    columns = ceil_div(width, tile.shape[1])
    return np.tile(tile[rows % tile.shape[0]], (1, columns))[:, :width]


def distance(inside: np.ndarray) -> np.ndarray:
    """Return the distance of every True cell to the nearest False one, float32, in cells."""
    return np.asarray(ndimage.distance_transform_edt(inside), np.float32)


class Enlarger:
    """Reads fields of a coarse grid at pixel centres, band by band.

    Cell (i, j) of the grid is centred on ((i + 0.5) * scale, (j + 0.5) * scale) pixels.
    """

    def __init__(self, shape: tuple[int, int], scale: float, width: int) -> None:
        """Prepare the columns of a picture `width` pixels wide for grids of `shape`."""
        self.shape, self.scale = shape, scale
        self._columns = self._between(np.arange(width), shape[1])
        self._near = np.clip((np.arange(width) + 0.5) / scale, 0, shape[1] - 1).astype(np.intp)

    def smooth(self, field: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Interpolate linearly: (len(rows), width) float32."""
        low, high, share = self._between(rows, self.shape[0])
        band = field[low] + (field[high] - field[low]) * share[:, None]
        low, high, share = self._columns
        return band[:, low] + (band[:, high] - band[:, low]) * share

    def nearest(self, field: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Take the value of the cell that each pixel lies in: (len(rows), width)."""
        near = np.clip((rows + 0.5) / self.scale, 0, self.shape[0] - 1).astype(np.intp)
        return field[near][:, self._near]

    def _between(self, pixels: np.ndarray, cells: int) -> tuple[np.ndarray, ...]:
        position = np.clip((pixels + 0.5) / self.scale - 0.5, 0, cells - 1)
        low = np.minimum(position.astype(np.intp), max(cells - 2, 0))
        return low, np.minimum(low + 1, cells - 1), (position - low).astype(np.float32)
