"""Small image files of many flavours; never square, no side a multiple of 16."""

import numpy as np
import tifffile
from PIL import Image

SIZE = (717, 523)


def noise(size=SIZE, channels=3, seed=0, top=256):
    rng = np.random.default_rng(seed)
    return rng.integers(0, top, (size[1], size[0], channels), dtype=np.uint8)


def tissue(size, box, colour=(200, 120, 170), around=(243, 243, 243), seed=0):
    """A picture of glass with a rectangle of tissue, (left, top, right, bottom), and noise."""
    rng = np.random.default_rng(seed)
    picture = np.full((size[1], size[0], 3), around, np.int16)
    left, top, right, bottom = box
    picture[top:bottom, left:right] = colour
    picture += rng.integers(-6, 7, picture.shape, dtype=np.int16)
    return picture.clip(0, 255).astype(np.uint8)


def write_levels(path, levels, **options):
    """A pyramid whose levels are given, so that tests can tell which one was read."""
    options = {"tile": (128, 128), "photometric": "rgb", "compression": "lzw", **options}
    with tifffile.TiffWriter(path) as writer:
        for depth, level in enumerate(levels):
            writer.write(level, subfiletype=int(depth > 0), metadata=None, **options)


def write_ome(path, levels, mpp=0.37, mpp_y=None):
    with tifffile.TiffWriter(path, ome=True) as writer:
        metadata = {
            "axes": "YXS",
            "PhysicalSizeX": mpp,
            "PhysicalSizeY": mpp_y or mpp,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeYUnit": "µm",
        }
        options = {"tile": (128, 128), "photometric": "rgb", "compression": "zlib"}
        writer.write(levels[0], subifds=len(levels) - 1, metadata=metadata, **options)
        for level in levels[1:]:
            writer.write(level, subfiletype=1, metadata=None, **options)


def write_svs(path, levels, description):
    """The layout of an Aperio scanner: level 0, thumbnail, other levels, label and macro."""
    with tifffile.TiffWriter(path) as writer:
        options = {"photometric": "rgb", "metadata": None, "software": False}
        tiled = {"tile": (128, 128), "compression": "lzw", **options}
        writer.write(levels[0], description=f"Aperio Image Library\r\n{description}", **tiled)
        writer.write(noise((90, 66), seed=5), description="Aperio thumbnail", **options)
        for level in levels[1:]:
            writer.write(level, description="Aperio Image Library\r\nreduced", **tiled)
        for name in ("label", "macro"):
            picture = noise((77, 61), seed=6)
            writer.write(picture, description=f"Aperio\nlabel {name}", subfiletype=1, **options)


def write_png(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)


def brute_mean(pixels, factor):
    """Block means, rounded half up, of whole blocks, in the plainest way."""
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    blocks = pixels[: height * factor, : width * factor].astype(float)
    blocks = blocks.reshape(height, factor, width, factor, -1)
    return np.floor(blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint8)
