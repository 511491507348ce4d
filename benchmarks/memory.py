"""Peak memory of every per-slide verb on slides of growing height.

    python benchmarks/memory.py results    # the results folder of a finished run

Repeats a synthetic strip of tissue to heights of 4,000, 8,000 and 16,000 px, all 3,001 px wide,
and runs each verb as its own process. A verb passes when doubling the height twice leaves its peak
resident memory within 15 %.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from verbs import command

from holohisto.demo.cohort import write_cohort
from holohisto.pyramid.raster import Raster
from holohisto.pyramid.write import write_mask_pyramid, write_slide_pyramid
from holohisto.runtime.results import Results
from holohisto.slide import Slide

WIDTH, HEIGHTS = 3001, (4_003, 8_003, 16_003)
MPP = 0.5
ONE_VARIANT = '{"orientations": 1, "appearances": 0}'
OPTIONS = json.dumps({"tile": [1024, 768]})
CLASSES = {"classes": json.dumps({"glomerulus": {}})}
LARGEST_GROWTH = 1.15
"""Largest ratio of the peak memory on the tallest and on the lowest slide."""


def strip(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and annotation of one synthetic slide, cut to the width."""
    write_cohort(folder, seed=0, slides=1)
    image = next((folder / "slides").iterdir())
    with Slide(image) as slide:
        rgb = slide.read((0, 0), (WIDTH, slide.size[1]))
    mask = Raster(folder / "annotations" / image.name)
    return rgb, mask.read((0, 0), (WIDTH, rgb.shape[0]))


def bands(strip: np.ndarray, height: int) -> Iterator[np.ndarray]:
    """`strip`, (rows, width) or (rows, width, 3), repeated to `height` rows."""
    for row in range(0, height, len(strip)):
        yield strip[: min(len(strip), height - row)]


def measure(words: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of one verb, as its last log line reports them."""
    done = subprocess.run(["holohisto", *words], stderr=subprocess.PIPE, text=True)
    line = re.search(r"done in ([\d.]+) s, ([\d.,]+) MB", done.stderr)
    if done.returncode or line is None:
        sys.exit(done.stderr)
    return float(line[1]), float(line[2].replace(",", ""))


def commands(folder: Path, results: Results) -> list[list[str]]:
    """All per-slide verbs on the slide in `folder`, in the order of the workflow."""
    image, annotation = folder / "slide.tif", folder / "annotation.tif"
    record, foreground = folder / "check.json", folder / "foreground.tif"
    tokens, labels, probability = folder / "t.safetensors", folder / "labels.tif", folder / "p.tif"
    slide = {"record": record, "foreground": foreground}
    scored = {"record": record, "annotation": annotation, "probability": probability, **CLASSES}
    outputs = {
        "masks": folder / "mask_{class}.tif",
        "geojson": folder / "o.geojson",
        "overlay": folder / "o.jpg",
    }
    return [
        command("check", image, slide="tall", annotation=annotation, output=record, **CLASSES),
        command("foreground", image, picture=folder / "f.jpg", **slide),
        command(
            "tokens",
            image,
            tokenizer=results.tokenizer,
            tokens=tokens,
            options=ONE_VARIANT,
            quality=folder / "t.json",
            picture=folder / "t.jpg",
            **slide,
        ),
        command(
            "infer",
            image,
            tokens=tokens,
            segmenter=results.segmenter("holohisto"),
            options=OPTIONS,
            labels=labels,
            probability=probability,
            **slide,
        ),
        command("mask", labels, image=image, **scored, **outputs),
        command(
            "metrics",
            labels,
            foreground=foreground,
            options=OPTIONS,
            mask_options="{}",
            output=folder / "m.json",
            **scored,
        ),
    ]


def measure_slide(
    folder: Path, results: Results, height: int, strips: tuple[np.ndarray, np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Seconds and peak megabytes of every per-slide verb on one slide of this height."""
    rgb, mask = strips
    write_slide_pyramid(folder / "slide.tif", bands(rgb, height), MPP, quality=85)
    write_mask_pyramid(folder / "annotation.tif", bands(mask, height), (WIDTH, height), MPP, "")
    return {words[0]: measure(words) for words in commands(folder, results)}


def main() -> None:
    """Print the table; exit 1 if a verb's memory grows."""
    results = Results(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as name:
        strips = strip(Path(name))
        used = {height: measure_slide(Path(name), results, height, strips) for height in HEIGHTS}
    print("verb        " + "".join(f"{h:>10,} px       " for h in HEIGHTS) + "growth")
    worst = 0.0
    for verb in used[HEIGHTS[0]]:
        cells = "".join(f"{used[h][verb][1]:7.0f} MB {used[h][verb][0]:6.1f} s " for h in HEIGHTS)
        growth = used[HEIGHTS[-1]][verb][1] / used[HEIGHTS[0]][verb][1]
        worst = max(worst, growth)
        print(f"{verb:<12}{cells}  {growth:.2f}x")
    sys.exit(worst > LARGEST_GROWTH)


if __name__ == "__main__":
    main()
