"""Writing the mask of a whole slide, 44,896 x 46,410, beside libvips and tifffile.

All write a BigTIFF of 512-pixel LZW tiles with all levels of a pyramid, from the same bands of a
synthetic label map: 2,000 discs. libvips maps the label map from a raw file, whose writing is not
timed, and makes the levels itself (`region_shrink` nearest, as ours). tifffile makes no pyramids:
its levels are strided views of the mapped file.
"""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
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


def bands() -> Iterator[np.ndarray]:
    """The map in bands of rows, uint8 0 and 255."""
    circles, (width, height) = discs(), SIZE
    for top in range(0, height, STEP):
        band = np.zeros((min(STEP, height - top), width), np.uint8)
        y = np.arange(top, top + len(band)) + 0.5
        for cx, cy, r in circles[np.abs(circles[:, 1] - top - STEP / 2) < circles[:, 2] + STEP / 2]:
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


def write_ours(source: Path, out: Path) -> None:
    """Stream the map into our writer, band by band."""
    from holohisto.pyramid.write import write_mask_pyramid

    parts = (read(source, top) for top in range(0, SIZE[1], STEP))
    write_mask_pyramid(out, parts, SIZE, MPP, "mask")


def write_libvips(source: Path, out: Path) -> None:
    """Save the mapped file with libvips, which makes the levels itself."""
    import pyvips

    image = pyvips.Image.rawload(str(source), *SIZE, 1)
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


def write_tifffile(source: Path, out: Path) -> None:
    """Save strided views of the mapped file as levels with tifffile."""
    import tifffile

    mapped = np.memmap(source, np.uint8, "r", shape=SIZE[::-1])
    with tifffile.TiffWriter(out, bigtiff=True) as writer:
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


def build(device: str) -> race.Contenders:
    """Ours, libvips and tifffile over one map."""
    folder = Path(os.environ.get("FOLDER", tempfile.gettempdir()))
    source, out = raw(folder), folder / f"mask-{os.getpid()}.tif"

    def timed(write: Callable[[Path, Path], None]) -> Callable[[], None]:
        def action() -> None:
            write(source, out)
            out.unlink()

        return action

    writers = {"ours": write_ours, "libvips": write_libvips, "tifffile": write_tifffile}
    return {name: timed(write) for name, write in writers.items()}


def read(source: Path, top: int) -> np.ndarray:
    """One band of the map, read from the file."""
    width, height = SIZE
    rows = min(STEP, height - top)
    return np.fromfile(source, np.uint8, rows * width, offset=top * width).reshape(rows, width)


def once() -> dict[str, race.Result]:
    """Time and peak memory of each contender in a single run, as the whole slide takes long."""
    results = {}
    for name, action in build("cpu").items():
        start = time.perf_counter()
        peak = race.peak_of(action)
        results[name] = race.Result([time.perf_counter() - start], peak)
        print(f"{name:<10}{results[name].best:>8.1f} s{peak:>8.0f} MB", flush=True)
    return results


if __name__ == "__main__":
    parser = race.options(__doc__)
    parser.add_argument("--once", action="store_true", help="one run of each")
    arguments = parser.parse_args()
    if arguments.once:
        results = once()
    else:
        results = race.run({"mask writing": build}, arguments)["mask writing"]
    missed = []
    if results["ours"].best > 1.2 * results["libvips"].best:
        missed.append("within 1.2x of libvips")
    if results["ours"].peak_mb > 500:
        missed.append("peak memory under 500 MB")
    race.verdict(missed)
