"""Folders in the layouts of public datasets, and the sheets that `init` writes of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from holohisto import cli
from holohisto.config.parsing import read_config
from holohisto.sheet.cells import Row
from holohisto.sheet.rows import read_sheet

ROOT = Path(__file__).parents[2]
KPIS, NEPTUNE = (read_config(ROOT / "config" / f"{name}.yaml") for name in ("kpis", "neptune"))
SIZE = (517, 341)


def init(layout: str, folder: Path, output: Path, *more: str) -> dict[str, Row]:
    assert cli.main(["init", layout, str(folder), "--output", str(output), *more]) == 0
    return read_sheet(output, tuple(NEPTUNE.classes) if layout == "neptune" else None)


@dataclass
class Pair:
    """An image, black around a piece of tissue, and a mask of one object."""

    image: Path
    mask: Path | None
    size: tuple[int, int] = SIZE
    white: int = 255

    def write(self) -> None:
        width, height = self.size
        rng = np.random.default_rng([*str(self.image).encode()])  # every picture is another one
        blocks = rng.integers(0, 80, (height // 40 + 1, width // 40 + 1, 1))
        coarse = np.kron(blocks, np.ones((40, 40, 1), int))[: height - 40, : width - 60]
        rgb = np.zeros((height, width, 3), np.uint8)
        rgb[20:-20, 30:-30] = coarse + rng.integers(100, 160, (height - 40, width - 60, 3))
        mask = np.zeros((height, width), np.uint8)
        mask[60:161, 100:203] = self.white
        for path, pixels in ((self.image, rgb), (self.mask, mask)):
            if path is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".tif", ".tiff"):
                tifffile.imwrite(path, pixels, tile=(128, 128), compression="lzw", metadata=None)
            else:
                Image.fromarray(pixels).save(path, quality=85)
