"""Splitting touching objects: does a single glomerulus stay whole, are two touching ones split?

Measured on annotations, without a model: glomeruli of people (`slides`, `structures`) and mice
(`mouse-pas`) as they are drawn, and pairs of the first laid side by side until they share a given
share of the smaller one's area.
"""

import argparse
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage

from holohisto.masks.necks import cut

SQUARE = np.ones((3, 3), bool)
RATIOS = (0.5, 0.6, 0.7, 0.8)
SHARED = (0.0, 0.02, 0.05, 0.1)
SMALLEST = 500
"""Smallest area of an object, and of a piece, pixels."""
TRIES = 60


def objects(mask: np.ndarray) -> list[np.ndarray]:
    """The objects of a mask, each in its box."""
    number, _ = ndimage.label(mask, SQUARE)
    boxes = enumerate(ndimage.find_objects(number), 1)
    pictures = [number[box] == k for k, box in boxes]
    return [picture for picture in pictures if picture.sum() > SMALLEST]


def glomeruli(data: Path) -> dict[str, list[np.ndarray]]:
    """Annotated glomeruli, by the data set they are from."""
    mosaics = [
        tifffile.imread(path)[::2, ::2] > 0 for path in data.glob("slides/mosaic_?_mask.tif")
    ]
    mice = [
        np.isin(np.asarray(Image.open(path)), (2, 3))
        for path in data.glob("mouse-pas/*-labels.png")
    ]
    sets = {"slides": mosaics, "mice": mice}
    for name in ("2_0_capsule", "3_0_tuft"):
        paths = (data / "structures" / name).rglob("*_mask_*.png")
        sets[name] = [np.asarray(Image.open(path).convert("L")) > 0 for path in paths]
    return {
        name: [glomerulus for mask in masks for glomerulus in objects(mask)]
        for name, masks in sets.items()
    }


def side_by_side(
    first: np.ndarray, second: np.ndarray, shared: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Move `second` left until they share more than `shared` of the smaller one's area."""
    height = 2 * max(len(first), len(second))
    width = first.shape[1] + second.shape[1] + 10
    left = np.zeros((height, width), bool)
    top = (height - len(first)) // 2
    left[top : top + len(first), 5 : 5 + first.shape[1]] = first
    moved = (height - len(second)) // 2 + random.uniform(-0.5, 0.5) * len(first)
    top = int(np.clip(moved, 0, height - len(second)))
    for x in range(width - second.shape[1] - 5, 4, -1):
        right = np.zeros_like(left)
        right[top : top + len(second), x : x + second.shape[1]] = second
        if (left & right).sum() > shared * min(first.sum(), second.sum()):
            return left, right
    return None


def outcome(left: np.ndarray, right: np.ndarray, ratio: float) -> str:
    """Outcome for two touching objects: "split" if each has a piece of IoU above 0.5."""
    both = ndimage.binary_closing(left | right, SQUARE, 3)
    number, count = ndimage.label(both & ~cut(both, ratio, SMALLEST), SQUARE)
    if count == 1:
        return "whole"
    pieces = [number == k for k in range(1, count + 1)]
    best = [
        max((piece & whole).sum() / (piece | whole).sum() for piece in pieces)
        for whole in (left, right)
    ]
    return "split" if count == 2 and min(best) > 0.5 else "wrong"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    sets = glomeruli(parser.parse_args().data)
    for ratio in RATIOS:
        cuts = {
            name: sum(bool(cut(mask, ratio, SMALLEST).any()) for mask in masks)
            for name, masks in sets.items()
        }
        print(
            f"ratio {ratio}: cut",
            ", ".join(f"{cuts[name]} of {len(sets[name])} {name}" for name in sets),
        )
    for shared in SHARED:
        random, pairs = np.random.default_rng(1), []
        for _ in range(TRIES):
            i, j = random.choice(len(sets["slides"]), 2, replace=False)
            first, second = sets["slides"][i], sets["slides"][j]
            if 0.5 < first.sum() / second.sum() < 2:
                pairs.append(side_by_side(first, second, shared, random))
        for ratio in RATIOS:
            outcomes = [outcome(*pair, ratio) for pair in pairs if pair]
            print(
                f"sharing {shared}, ratio {ratio}:",
                {name: outcomes.count(name) for name in ("split", "whole", "wrong")},
            )


if __name__ == "__main__":
    main()
