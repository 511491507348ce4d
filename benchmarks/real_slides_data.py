"""The slides of the benchmark of real slides, assembled so that no test tile continues training.

The three mosaics hold eight tiles each, and all tiles were cut from one section: some touch each
other. `neighbours` finds them by their pixels. The tiles of mosaic b that touch a tile of mosaic c
are painted white in the copy of mosaic b that is trained on.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyvips
import tifffile
from PIL import Image
from scipy import ndimage

MPP = 0.5
TILE = 1024
CORNERS = [(180 + 1160 * row, 180 + 1060 * column) for row in range(2) for column in range(4)]
"""Top and left of a mosaic's tiles, pixels."""
WITHHELD = {"b": (7,)}
"""Tiles that are painted white, by mosaic: this one has glomeruli in common with tiles 0 and 2 of
mosaic c, below it and on its right. Mosaic a touches neither b nor c."""
PAINTED_MARGIN = 16
"""Pixels around a tile that JPEG compression may have coloured."""
ALIKE = 0.75
"""Correlation of two border lines above which their tiles touch. Tiles that do have 0.87 and more,
all others 0.57 and less."""
RECOLOURINGS = {True: (0, 1, 2), False: (3, 4, 5)}
"""Seeds of the recolourings: those on which choices are made, and those of the test."""
STAINS = ("he", "sil", "tri")
CAPSULE_SCALE = 4
"""From 2 um/px to 0.5."""
MOUSE_BORDER = 62
"""Pixels around the labelled middle of an image of mouse tissue; segmenters see them."""
MOUSE_CLASSES = (2, 3)
"""Glomerulus, tuft."""
MOUSE_SCALE = 0.8
"""Scanned at 0.34 um/px and then shown as 1 um/px: a mouse's glomeruli, about 85 um wide, look as
large as those that were learnt, about 200 um."""
COLUMNS = "slide\timage\tannotation\tgroup\tsplit\tmpp"


def write_slides(data: Path, folder: Path, choose: bool) -> Path:
    """Write the images that differ from the data, where missing, and the sheet; returns its path.

    Args:
        data: Folder of the public slides and tiles.
        folder: Folder of the results; images go to `images` in it.
        choose: Train on mosaic a and test on mosaic b, for choices; otherwise train on both and
            test on mosaic c, PAS capsules and mice.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    paths = {letter: _mosaic(data, images, letter) for letter in "abc"}
    tested = "b" if choose else "c"
    lines = [COLUMNS]
    for letter in "ab" if choose else "abc":
        split = "test" if letter == tested else "train"
        lines.append(line_of(f"mosaic-{letter}", *paths[letter], "mosaic", split))
    lines += _recoloured_lines(images, tested, *paths[tested], choose)
    for stain in STAINS:
        lines += capsule_lines(data, images, stain, "stains")
    if not choose:
        lines += capsule_lines(data, images, "pas", "capsule")
        lines += list(mouse_lines(data, images))
    sheet = folder / ("slides-choose.tsv" if choose else "slides.tsv")
    sheet.write_text("\n".join(lines) + "\n")
    return sheet


def recoloured(rgb: np.ndarray, seed: int, shift: int = 0) -> np.ndarray:
    """Strongly change the colours of a picture, in optical density; white stays white.

    Each channel is scaled by 0.65 to 1.35, channels are mixed by up to 0.35, then all are scaled by
    0.6 to 1.5.

    Args:
        rgb: (H, W, 3) uint8.
        seed: Decides the change.
        shift: Places by which the channels are exchanged in turn.
    """
    rng = np.random.default_rng(seed)
    scales = np.diag(rng.uniform(0.65, 1.35, 3))
    mixing = np.eye(3) + rng.uniform(-0.35, 0.35, (3, 3))
    change = rng.uniform(0.6, 1.5) * np.roll(mixing @ scales, shift, axis=0)
    density = -np.log(np.clip(rgb.astype(np.float32) / 255, 0.02, 1))
    changed = np.clip(density @ change.T.astype(np.float32), 0, None)
    return np.rint(255 * np.exp(-changed)).astype(np.uint8)


def neighbours(
    tiles: dict[str, np.ndarray], others: dict[str, np.ndarray]
) -> list[tuple[str, str]]:
    """Pairs of tiles of which one continues the other above, below, on its left or right.

    Args:
        tiles: (side, side, 3) uint8 pictures by name.
        others: pictures of the same size.

    Returns:
        Name among `tiles` and name among `others` of each pair, in their order.
    """
    pairs = []
    for name, tile in tiles.items():
        for other_name, other in others.items():
            touching = (
                (tile[-1], other[0]),
                (tile[0], other[-1]),
                (tile[:, -1], other[:, 0]),
                (tile[:, 0], other[:, -1]),
            )
            if max(_correlation(*lines) for lines in touching) > ALIKE:
                pairs.append((name, other_name))
    return pairs


def tiles_of(mosaic: Path) -> dict[str, np.ndarray]:
    """The tiles of a mosaic, by their number in it; painted ones are left out."""
    rgb = tifffile.imread(mosaic, key=0)
    tiles = {str(k): rgb[y : y + TILE, x : x + TILE] for k, (y, x) in enumerate(CORNERS)}
    return {name: tile for name, tile in tiles.items() if tile.std(axis=(0, 1)).max() > 3}


def mouse_labels(data: Path) -> list[Path]:
    """The annotations of mouse tissue, of the middle of each image only."""
    return sorted((data / "mouse-pas").glob("*-labels.png"))


def mouse_truth(labels: Path) -> np.ndarray:
    """(516, 516) bool, the glomeruli of the middle of an image of mouse tissue."""
    return np.isin(np.asarray(Image.open(labels)), MOUSE_CLASSES)


def mouse_objects(data: Path) -> int:
    """Number of glomeruli annotated in mouse tissue."""
    return sum(ndimage.label(mouse_truth(labels))[1] for labels in mouse_labels(data))


def mouse_dice(data: Path, masks: Path) -> list[float]:
    """Dice over the labelled middle of each image; 1 where both are empty."""
    values = []
    for labels in mouse_labels(data):
        truth = mouse_truth(labels)
        name = labels.name.removesuffix("-labels.png")
        side = 2 * MOUSE_BORDER + len(truth)
        mask = Image.fromarray(tifffile.imread(masks / f"mouse-{name}_glomerulus.tif"))
        predicted = np.asarray(mask.resize((side, side), Image.Resampling.NEAREST)) > 0
        predicted = predicted[MOUSE_BORDER:-MOUSE_BORDER, MOUSE_BORDER:-MOUSE_BORDER]
        both = int(truth.sum() + predicted.sum())
        values.append(2 * int((truth & predicted).sum()) / both if both else 1.0)
    return values


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two lines of pixels, (n, 3), each channel brought to mean 0."""
    a, b = (line.astype(float) - line.mean(axis=0) for line in (first, second))
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-9))


def _mosaic(data: Path, images: Path, letter: str) -> tuple[Path, Path]:
    """Image and mask of a mosaic: the data's, or copies without the tiles that are withheld."""
    source = data / "slides" / f"mosaic_{letter}.tif"
    mask = source.with_name(f"mosaic_{letter}_mask.tif")
    if letter not in WITHHELD:
        return source, mask
    copies = images / source.name, images / mask.name
    if not all(path.exists() for path in copies):
        rgb, annotated = tifffile.imread(source, key=0), tifffile.imread(mask, key=0)
        side = TILE + 2 * PAINTED_MARGIN
        glass = np.tile(rgb[:132, :side], (side // 132, 1, 1))  # with the noise of glass
        for k in WITHHELD[letter]:
            top, left = (edge - PAINTED_MARGIN for edge in CORNERS[k])
            rgb[top : top + side, left : left + side] = glass
            annotated[top : top + side, left : left + side] = 0
        _write_pyramid(copies[0], rgb, "mean")
        _write_pyramid(copies[1], annotated, "nearest")
    return copies


def _write_pyramid(path: Path, pixels: np.ndarray, shrink: str) -> None:
    """Write a tiled TIFF with smaller levels, without loss."""
    pyvips.Image.new_from_array(pixels).tiffsave(
        str(path),
        tile=True,
        tile_width=512,
        tile_height=512,
        pyramid=True,
        region_shrink=shrink,
        compression="lzw",
        predictor="none",
        xres=1000 / MPP,
        yres=1000 / MPP,
    )


def line_of(slide: str, image: Path, annotation: Path | str, group: str, split: str) -> str:
    """Return a row of the sheet."""
    return f"{slide}\t{image}\t{annotation}\t{group}\t{split}\t{MPP}"


def _recoloured_lines(
    images: Path, letter: str, image: Path, mask: Path, choose: bool
) -> list[str]:
    """Write a mosaic in other colours; the channels of the last one are exchanged as well."""
    lines = []
    seeds = RECOLOURINGS[choose]
    for seed in seeds:
        path = images / f"mosaic_{letter}_recoloured_{seed}.tif"
        if not path.exists():
            shift = (1 if choose else 2) * (seed == seeds[-1])
            _write_pyramid(path, recoloured(tifffile.imread(image, key=0), seed, shift), "mean")
        lines.append(
            line_of(f"mosaic-{letter}-recoloured-{seed}", path, mask, "recoloured", "test")
        )
    return lines


def capsule_lines(
    data: Path, images: Path, stain: str, group: str, split: str = "test"
) -> list[str]:
    """Write capsules of one stain, enlarged, and their masks; return their rows."""
    lines = []
    masks = sorted((data / "structures" / "2_0_capsule" / stain).glob("*_mask_capsule.png"))
    for mask in masks:
        name = mask.name.removesuffix("_mask_capsule.png")
        path = images / f"{stain}-{name}.png"
        drawn = path.with_name(f"{stain}-{name}_mask.png")
        image = Image.open(mask.with_name(f"{name}.png")).convert("RGB")
        _write_scaled(path, image, CAPSULE_SCALE, Image.Resampling.BICUBIC)
        truth = Image.open(mask).convert("L")
        _write_scaled(drawn, truth, CAPSULE_SCALE, Image.Resampling.NEAREST)
        lines.append(line_of(f"{stain}-{name}", path, drawn, group, split))
    return lines


def mouse_lines(data: Path, images: Path) -> Iterator[str]:
    """Write images of mouse tissue in the size of human glomeruli; yield their rows."""
    for labels in mouse_labels(data):
        name = labels.name.removesuffix("-labels.png")
        path = images / f"mouse-{name}.png"
        whole = Image.open(labels.with_name(f"{name}.png")).convert("RGB")
        _write_scaled(path, whole, MOUSE_SCALE, Image.Resampling.BICUBIC)
        yield f"mouse-{name}\t{path}\t\tmouse\tpredict\t1.0"


def _write_scaled(path: Path, image: Image.Image, scale: float, how: Image.Resampling) -> None:
    """Write a resized image, unless it exists: a newer file would rerun everything."""
    if not path.exists():
        size = round(scale * image.width), round(scale * image.height)
        image.resize(size, how).save(path)
