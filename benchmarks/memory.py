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
from pathlib import Path

import numpy as np

from holohisto.demo.cohort import write_cohort
from holohisto.pyramid.raster import Raster
from holohisto.pyramid.write import write_mask_pyramid, write_slide_pyramid
from holohisto.slide import Slide

WIDTH, HEIGHTS = 3001, (4_003, 8_003, 16_003)
MPP = 0.5
ONE_VARIANT = '{"orientations": 1, "appearances": 0}'
OPTIONS = json.dumps({"tile": [1024, 768]})
CLASSES = json.dumps({"glomerulus": {}})


def strip(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and annotation of one synthetic slide, cut to the width."""
    write_cohort(folder, seed=0, slides=1)
    image = next((folder / "slides").iterdir())
    with Slide(image) as slide:
        rgb = slide.read((0, 0), (WIDTH, slide.size[1]))
    mask = Raster(folder / "annotations" / image.name)
    return rgb, mask.read((0, 0), (WIDTH, rgb.shape[0]))


def bands(part: np.ndarray, height: int):
    """`part` repeated to `height` rows."""
    for row in range(0, height, len(part)):
        yield part[: min(len(part), height - row)]


def run(*words: object) -> tuple[float, float]:
    """Seconds and peak megabytes of one verb, as its last log line tells them."""
    done = subprocess.run(["holohisto", *map(str, words)], stderr=subprocess.PIPE, text=True)
    found = re.search(r"done in ([\d.]+) s, ([\d.,]+) MB", done.stderr)
    if done.returncode or found is None:
        sys.exit(done.stderr)
    return float(found[1]), float(found[2].replace(",", ""))


def measure(folder: Path, results: Path, height: int, parts) -> dict[str, tuple[float, float]]:
    """All per-slide verbs on one slide of this height."""
    image, annotation = folder / "slide.tif", folder / "annotation.tif"
    write_slide_pyramid(image, bands(parts[0], height), MPP, quality=85)
    write_mask_pyramid(annotation, bands(parts[1], height), (WIDTH, height), MPP, "")
    check, tissue = folder / "check.json", folder / "foreground.tif"
    tokens, labels, small = folder / "tokens.safetensors", folder / "labels.tif", folder / "p.tif"
    model = results / "models" / "holohisto" / "segmenter.safetensors"
    return {
        "check": run(
            "check",
            image,
            "--slide",
            "tall",
            "--annotation",
            annotation,
            "--classes",
            CLASSES,
            "--output",
            check,
        ),
        "foreground": run(
            "foreground",
            image,
            "--record",
            check,
            "--foreground",
            tissue,
            "--picture",
            folder / "f.jpg",
        ),
        "tokens": run(
            "tokens",
            image,
            "--record",
            check,
            "--foreground",
            tissue,
            "--tokenizer",
            results / "tokenizer" / "tokenizer.safetensors",
            "--tokens",
            tokens,
            "--options",
            ONE_VARIANT,
            "--quality",
            folder / "t.json",
            "--picture",
            folder / "t.jpg",
        ),
        "infer": run(
            "infer",
            image,
            "--record",
            check,
            "--foreground",
            tissue,
            "--tokens",
            tokens,
            "--segmenter",
            model,
            "--options",
            OPTIONS,
            "--labels",
            labels,
            "--probability",
            small,
        ),
        "mask": run(
            "mask",
            labels,
            "--image",
            image,
            "--record",
            check,
            "--probability",
            small,
            "--annotation",
            annotation,
            "--options",
            "{}",
            "--classes",
            CLASSES,
            "--masks",
            folder / "mask_{class}.tif",
            "--geojson",
            folder / "o.geojson",
            "--overlay",
            folder / "o.jpg",
        ),
        "metrics": run(
            "metrics",
            labels,
            "--record",
            check,
            "--annotation",
            annotation,
            "--foreground",
            tissue,
            "--probability",
            small,
            "--options",
            OPTIONS,
            "--mask-options",
            "{}",
            "--classes",
            CLASSES,
            "--output",
            folder / "m.json",
        ),
    }


def main() -> None:
    """Print the table; exit 1 if a verb's memory grows."""
    results = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        parts = strip(Path(name))
        found = {height: measure(Path(name), results, height, parts) for height in HEIGHTS}
    print("verb        " + "".join(f"{h:>10,} px       " for h in HEIGHTS) + "growth")
    worst = 0.0
    for verb in found[HEIGHTS[0]]:
        cells = "".join(f"{found[h][verb][1]:7.0f} MB {found[h][verb][0]:6.1f} s " for h in HEIGHTS)
        growth = found[HEIGHTS[-1]][verb][1] / found[HEIGHTS[0]][verb][1]
        worst = max(worst, growth)
        print(f"{verb:<12}{cells}  {growth:.2f}x")
    sys.exit(worst > 1.15)


if __name__ == "__main__":
    main()
