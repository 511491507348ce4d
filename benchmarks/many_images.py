"""CPU seconds that an image takes through the workflow, for each model.

    python benchmarks/many_images.py --images 20

Draws small images with annotations, trains a tiny segmenter and fits a threshold on two of them,
then adds the others to the sheet and runs the workflow again, from `check` to `metrics`. Exits
with 1 when an image takes more than two CPU seconds for each model.
"""

import argparse
import contextlib
import ctypes
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MOST_SECONDS = 2.0
PR_SET_CHILD_SUBREAPER = 36
LEARNED = {"t": "train", "v": "val"}
MODELS = ("tiny", "threshold")
CONFIG = """
slides: slides.tsv
classes: {glomerulus: {}}
models:
  tiny: {kind: holohisto, size: T}
  threshold: {kind: colour_threshold}
tokenizer: {channels: 8, multipliers: [1, 1, 1, 1, 1], residual_blocks: 1, levels: [4, 4], tile: 64,
  batch: 2, steps: 5}
train: {tile: [256, 192], steps: 6, validate_every: 3, batch: 2}
infer: {splits: [test]}
cohort: {bootstrap: 200}
"""


def draw(path: Path, number: int) -> None:
    """Write an image of pale tissue with three dark discs, about 1024 x 768, and its annotation."""
    random = np.random.default_rng(number)
    width, height = 1021 + 2 * (number % 5), 763 + 2 * (number % 3)
    y, x = np.mgrid[:height, :width]
    rgb = np.full((height, width, 3), 244, np.uint8)
    rgb[((x - 500) / 450) ** 2 + ((y - 380) / 340) ** 2 < 1] = (214, 150, 190)
    discs = np.zeros((height, width), bool)
    for cx, cy in ((280, 380), (530, 260), (720, 430)):
        cx, cy = cx + random.integers(-30, 30), cy + random.integers(-30, 30)
        discs |= (x - cx) ** 2 + (y - cy) ** 2 < random.integers(50, 70) ** 2
    rgb[discs] = (128, 60, 130)
    rgb = np.clip(rgb + random.integers(-12, 12, rgb.shape), 0, 255).astype(np.uint8)
    Image.fromarray(rgb).save(path)
    Image.fromarray(discs.astype(np.uint8) * 255).save(path.with_suffix(".mask.png"))


def write_sheet(folder: Path, splits: dict[str, str]) -> None:
    """Write the sheet of these slides and their splits."""
    lines = ["slide\timage\tannotation\tgroup\tsubject\tsplit\tmpp"]
    lines += [
        f"{slide}\t{slide}.png\t{slide}.mask.png\tg{n % 2}\tp{n}\t{split}\t0.5"
        for n, (slide, split) in enumerate(splits.items())
    ]
    (folder / "slides.tsv").write_text("\n".join(lines) + "\n")


def run(folder: Path, cores: int) -> tuple[float, float, float]:
    """Run the workflow; returns seconds, CPU seconds of all processes, and of Snakemake itself."""
    # Processes whose parent has ended become children of this one, so that their time counts.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow" / "Snakefile"]
    command += ["--directory", folder, "--configfile", folder / "config.yaml"]
    command += ["--cores", str(cores), "--until", "metrics"]
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    own = 0.0
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            own = max(own, cpu_of(process.pid))
            time.sleep(0.2)
    if process.returncode:
        sys.exit((folder / "log").read_text()[-3000:])
    with contextlib.suppress(ChildProcessError):
        while True:  # the fork server ends a moment later
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, cpu, own


def cpu_of(process: int) -> float:
    """CPU seconds of a process without its children; 0 when it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return 0.0
    user, system = text.rpartition(") ")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def seconds_by_verb(folder: Path, since: float) -> Counter[str]:
    """Seconds of the jobs since a time, by verb, as their logs report them."""
    seconds: Counter[str] = Counter()
    for path in (folder / "logs").rglob("*.log"):
        done = re.search(r"(\w+): done in ([\d.]+) s", path.read_text())
        if done and path.stat().st_mtime > since:
            seconds[done[1]] += float(done[2])
    return seconds


def measure(folder: Path, images: int, cores: int) -> float:
    """Print what the images take; returns CPU seconds for each image and model."""
    added = {f"e{number:04}": "test" for number in range(images)}
    first = {**LEARNED, next(iter(added)): "test"}
    for number, slide in enumerate({**LEARNED, **added}):
        draw(folder / f"{slide}.png", number)
    (folder / "config.yaml").write_text(CONFIG)
    write_sheet(folder, first)
    run(folder, cores)
    write_sheet(folder, {**LEARNED, **added})
    since = time.time()
    seconds, cpu, own = run(folder, cores)
    each = cpu / (len(added) - 1) / len(MODELS)
    print(f"{len(added) - 1} images, {len(MODELS)} models: {seconds:.1f} s, {cpu:.1f} s of CPU,")
    print(f"of which Snakemake itself {own:.1f} s; {each:.2f} s for each image and model")
    print({verb: round(s, 1) for verb, s in seconds_by_verb(folder, since).most_common()})
    return each


def main() -> None:
    """Measure in a temporary folder; exit 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=21)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the run in this new folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        folder.mkdir(exist_ok=True)
        each = measure(folder, arguments.images, arguments.cores)
    sys.exit(each > MOST_SECONDS)


if __name__ == "__main__":
    main()
