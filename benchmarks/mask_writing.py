"""Writing the mask of a whole slide, 44,896 x 46,410, beside libvips and tifffile.

All write a BigTIFF of 512-pixel LZW tiles with all levels of a pyramid, from the same bands of a
synthetic label map: 2,000 discs. libvips takes the map as a raw file, mapped and not read, which is
written before and not timed; it makes its levels by itself (`region_shrink` nearest, as ours).
tifffile has no pyramid of its own: it is given the levels as strided views of that map.
"""

import itertools
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import race

SIZE = tuple(int(side) for side in os.environ.get("SIZE", "44896x46410").split("x"))
DISCS, STEP = 2000, 512
MPP = 0.25


def discs() -> np.ndarray:
    """Centres and radii, (n, 3)."""
    random = np.random.default_rng(0)
    width, height = SIZE
    scale = width / 44_896
    return np.stack(
        [
            random.uniform(0, width, DISCS),
            random.uniform(0, height, DISCS),
            random.uniform(100 * scale, 500 * scale, DISCS),
        ],
        axis=1,
    )


def bands():
    """The map in bands of rows, uint8 0 and 255."""
    found, (width, height) = discs(), SIZE
    for top in range(0, height, STEP):
        band = np.zeros((min(STEP, height - top), width), np.uint8)
        y = np.arange(top, top + len(band)) + 0.5
        for cx, cy, r in found[np.abs(found[:, 1] - top - STEP / 2) < found[:, 2] + STEP / 2]:
            half = np.sqrt(np.clip(r * r - (y - cy) ** 2, 0, None))
            starts, ends = (
                np.clip((cx - half).astype(int), 0, width),
                np.clip((cx + half).astype(int), 0, width),
            )
            for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
                band[row, start:end] = 255
        yield band


def raw(folder: Path) -> Path:
    """The map as a file of bytes, made once for all contenders and processes."""
    path = folder / "map-{}x{}.raw".format(*SIZE)
    if not path.exists():
        with path.open("wb") as file:
            for band in bands():
                file.write(band)
    return path


def build(device: str) -> race.Contenders:
    """Ours, libvips and tifffile over one map."""
    folder = Path(os.environ.get("FOLDER", tempfile.gettempdir()))
    source = raw(folder)
    out = folder / f"mask-{os.getpid()}.tif"
    width, height = SIZE
    mapped = np.memmap(source, np.uint8, "r", shape=(height, width))

    def finish() -> None:
        out.unlink()

    def ours() -> None:
        from holohisto.pyramid.write import write_mask_pyramid

        parts = (read(source, top) for top in range(0, height, STEP))
        write_mask_pyramid(out, parts, SIZE, MPP, "mask")
        finish()

    def libvips() -> None:
        import pyvips

        image = pyvips.Image.rawload(str(source), width, height, 1)
        image.tiffsave(
            str(out),
            tile=True,
            tile_width=STEP,
            tile_height=STEP,
            pyramid=True,
            bigtiff=True,
            compression="lzw",
            region_shrink="nearest",
            xres=1000 / MPP,
            yres=1000 / MPP,
        )
        finish()

    def tifffile() -> None:
        import tifffile as library

        with library.TiffWriter(out, bigtiff=True) as writer:
            for depth in itertools.count():
                level = mapped[:: 2**depth, :: 2**depth]
                writer.write(
                    level,
                    tile=(STEP, STEP),
                    compression="lzw",
                    predictor=False,
                    subfiletype=int(depth > 0),
                    metadata=None,
                )
                if max(level.shape) <= STEP:
                    break
        finish()

    return {"ours": ours, "libvips": libvips, "tifffile": tifffile}


def read(source: Path, top: int) -> np.ndarray:
    """One band of the map, read as any stream is."""
    width, height = SIZE
    rows = min(STEP, height - top)
    return np.fromfile(source, np.uint8, rows * width, offset=top * width).reshape(rows, width)


def once() -> dict[str, race.Result]:
    """Time and weigh each contender in the same single run: the whole slide takes its time."""
    found = {}
    for name, action in build("cpu").items():
        start = time.perf_counter()
        peak = race.peak_of(action)
        found[name] = race.Result([time.perf_counter() - start], peak)
        print(f"{name:<10}{found[name].best:>8.1f} s{peak:>8.0f} MB", flush=True)
    return found


if __name__ == "__main__":
    parser = race.options(__doc__)
    parser.add_argument("--once", action="store_true", help="one run of each")
    arguments = parser.parse_args()
    if arguments.once:
        found = once()
    else:
        found = race.run({"mask writing": build}, arguments)["mask writing"]
    missed = []
    if found["ours"].best > 1.2 * found["libvips"].best:
        missed.append("within 1.2x of libvips")
    if found["ours"].peak_mb > 500:
        missed.append("peak memory under 500 MB")
    race.verdict(missed)
