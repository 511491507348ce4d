"""A whole slide through the verb infer, size T: where the time goes, and its peak memory.

The slide is synthetic and all tissue, its token map is random and its segmenter untrained, which
affects neither time nor memory. Memory grows with the width of a slide, not with its height.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tissue_slide
import torch
from verbs import command

from holohisto import cli
from holohisto.config.models import HolohistoModel
from holohisto.config.training import TokensOptions
from holohisto.runtime.arithmetic import ceil_div
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, save_segmenter
from holohisto.slide.record import SlideRecord
from holohisto.slide.scale import Scale
from holohisto.tokens.token_map import TokenMap, save_token_map


def prepare(folder: Path, width: int, height: int) -> list[str]:
    """Write the input of infer; returns its command line."""
    random = np.random.default_rng(0)
    image, record = folder / "slide.tif", folder / "check.json"
    tissue_slide.write(image, (width, height))
    slide = {"record": record, "foreground": folder / "f.tif"}
    assert cli.main(command("check", image, slide="s", output=record)) == 0
    assert cli.main(command("foreground", image, picture=folder / "f.jpg", **slide)) == 0
    options, own = HolohistoModel(size="T"), "0" * 64
    model = build_segmenter(options, torch.randn(1024, 32), 16, 1)
    card = ModelCard("m", options, ("a",), 0.5, (3840, 2160), own, 16, "frozen", "fp32", {})
    save_segmenter(model.state_dict(), card, folder / "segmenter.safetensors")
    shape = ceil_div(height, 16), ceil_div(width, 16)
    tokens = random.integers(0, 1024, shape).astype(np.uint16)
    fingerprint = SlideRecord.read(record).fingerprint
    token_map = TokenMap(
        [tokens], "s", fingerprint, own, 16, (0,), "fp32", TokensOptions(), Scale.whole(1)
    )
    save_token_map(token_map, folder / "tokens.safetensors")
    return command(
        "infer",
        image,
        tokens=folder / "tokens.safetensors",
        segmenter=folder / "segmenter.safetensors",
        labels=folder / "l.tif",
        probability=folder / "p.tif",
        facts=folder / "facts.json",
        **slide,
    )


BY_TORCH = """
import sys
from holohisto import cli
from holohisto.commands import infer
from holohisto.infer.torch_engine import TorchPredictor
from holohisto.segmenter.file import load_segmenter
infer.open_predictor = lambda path, *_: TorchPredictor(load_segmenter(path)[0])
sys.exit(cli.main(sys.argv[1:]))
"""
RUNS = {
    "torch": ["-c", BY_TORCH],
    "OpenVINO, converting": ["-m", "holohisto.cli"],
    "OpenVINO": ["-m", "holohisto.cli"],
}
"""What computes the segmenter on a CPU; the second run finds the converted one of the first."""


def measure(name: str, words: list[str], facts: Path) -> None:
    """Run infer in a process of its own and print what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *RUNS[name], *words]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = json.loads(facts.read_text())
    shown = {key: found[key] for key in ("device", "engine", "tiles", "stages", "bottleneck")}
    took = done.stderr.splitlines()[-1].split("done in ")[-1]
    print(f"{name}: {took}, {cpu:.1f} s of CPU", shown)


def main() -> None:
    """Prepare, run infer by each engine, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(20_003, 20_017))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=RUNS, help="one of the engines")
    arguments = parser.parse_args()
    width, height = arguments.size
    with tempfile.TemporaryDirectory() as name:
        words = prepare(Path(name), width, height)
        words += ["--threads", str(arguments.threads)]
        print(f"{width} x {height}")
        for run in [arguments.only] if arguments.only else RUNS:
            measure(run, words, Path(name) / "facts.json")


if __name__ == "__main__":
    main()
