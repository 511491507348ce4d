"""Reading random tiles of 3840 x 2160 from a JPEG pyramid: our Slide beside the raw readers.

A synthetic slide of 12,003 x 9,007 with tiles of 256, made once. Every contender reads the same 12
tiles from level 0 as RGB arrays, in one thread.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import race

SIZE, TILE, COUNT = (12_003, 9_007), (3840, 2160), 12


def slide() -> Path:
    """The slide, made once for all contenders and processes."""
    from holohisto.pyramid.write import write_slide_pyramid

    path = Path(os.environ.get("FOLDER", tempfile.gettempdir())) / "tile-reading.tif"
    if not path.exists():
        random = np.random.default_rng(0)
        small = random.integers(90, 240, (SIZE[1] // 8 + 1, SIZE[0] // 8 + 1, 3), dtype=np.uint8)

        def band(y: int) -> np.ndarray:
            wide = np.kron(small[y // 8 : y // 8 + 64], np.ones((8, 8, 1), np.uint8))
            return wide[: min(512, SIZE[1] - y), : SIZE[0]]

        write_slide_pyramid(path, (band(y) for y in range(0, SIZE[1], 512)), 0.5)
    return path


def build(device: str) -> race.Contenders:
    """All readers over the same tiles."""
    path = slide()
    random = np.random.default_rng(1)
    width, height = TILE
    corners = [
        (int(random.integers(SIZE[0] - width)), int(random.integers(SIZE[1] - height)))
        for _ in range(COUNT)
    ]

    def ours() -> None:
        from holohisto.slide import Slide

        with Slide(path) as image:
            for xy in corners:
                assert image.read(xy, TILE).shape == (height, width, 3)

    def cucim() -> None:
        from cucim.clara import CuImage

        image = CuImage(str(path))
        for xy in corners:
            assert np.asarray(image.read_region(xy, TILE, 0)).shape == (height, width, 3)

    def openslide() -> None:
        import openslide as library

        with library.OpenSlide(path) as image:
            for xy in corners:
                pixels = np.asarray(image.read_region(xy, 0, TILE).convert("RGB"))
                assert pixels.shape == (height, width, 3)

    def monai() -> None:
        from monai.data.wsi_reader import WSIReader

        reader = WSIReader(backend="cucim")
        image = reader.read(str(path))
        for x, y in corners:
            pixels, _ = reader.get_data(image, location=(y, x), size=(height, width), level=0)
            assert pixels.shape == (3, height, width)

    return {"ours": ours, "cuCIM": cucim, "OpenSlide": openslide, "MONAI WSIReader": monai}


if __name__ == "__main__":
    arguments = race.options(__doc__).parse_args()
    results = race.run({"random 4K tiles": build}, arguments)["random 4K tiles"]
    fastest = min(result.best for result in results.values())
    late = results["ours"].best > race.TOLERANCE * fastest
    race.verdict(["within 5 % of the fastest raw reader"] if late else [])
