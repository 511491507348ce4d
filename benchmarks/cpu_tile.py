"""One tile through a segmenter on a CPU: torch beside OpenVINO, fp32 and bf16, in one process.

    python benchmarks/cpu_tile.py

The contenders run in turns, each by one thread, and the least time of each counts: of the wall
clock, and of the CPU, which other work on the machine disturbs less. torch in fp32 is the reference
of the probabilities; the logits compared are those that belong to them. The network is untrained;
its norms have the statistics of the tile, and each class has half of the pixels.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from holohisto.config.models import HolohistoModel
from holohisto.infer.openvino_engine import OpenvinoPredictor
from holohisto.infer.predictor import Predictor, TileInputs
from holohisto.infer.torch_engine import TorchPredictor
from holohisto.runtime.processor import has_bf16
from holohisto.segmenter.convert import convert
from holohisto.segmenter.file import HolohistoSegmenter, build_segmenter

REFERENCE = "torch fp32"
LEAST_VARIANCE = 0.01
"""Attention over random tokens is nearly the same everywhere: a norm would amplify its rounding."""


def segmenter(size: str) -> HolohistoSegmenter:
    """Build a segmenter with random weights and statistics."""
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size=size), torch.randn(1024, 32), 16, 2)
    assert isinstance(model, HolohistoSegmenter)
    return model.eval().requires_grad_(False)


def inputs(width: int, height: int) -> TileInputs:
    """Random tokens, and pixels that vary from place to place."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, 1024, (height // 16, width // 16))
    coarse = random.integers(60, 230, (height // 8, width // 8, 3))
    return TileInputs(tokens, np.kron(coarse, np.ones((8, 8, 1), int)).astype(np.uint8))


def balance(model: HolohistoSegmenter, tile: TileInputs) -> None:
    """Set the norms to the statistics of the tile, and give each class half of its pixels."""
    size = tile.rgb.shape[:2]
    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(
            torch.from_numpy(tile.tokens)[None],
            torch.from_numpy(tile.rgb).permute(2, 0, 1)[None],
            size,
        )
    for norm in norms:
        assert norm.running_var is not None
        norm.running_var.clamp_(min=LEAST_VARIANCE)
    model.eval()
    predictor = TorchPredictor(model)
    probability = predictor(predictor.prepared(predictor.stacked([tile])), size)[0]
    last = model.decoder.head
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    last.bias -= torch.logit(probability.flatten(1)).median(dim=1).values


def logits(probability: np.ndarray) -> np.ndarray:
    """Return the logits of probabilities, in float64."""
    p = np.asarray(probability, np.float64)
    return np.log(p) - np.log1p(-p)


def measured(action: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of the wall clock and of the CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def contenders(model: HolohistoSegmenter) -> dict[str, Predictor]:
    """Return all that compute a tile, the reference first."""
    network = convert(model)
    precisions = ("fp32", "bf16") if has_bf16() else ("fp32",)
    return {
        **{f"torch {p}": TorchPredictor(model, precision=p) for p in precisions},
        **{f"OpenVINO {p}": OpenvinoPredictor(network, precision=p) for p in precisions},
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=("T", "S", "B"), default="T")
    parser.add_argument("--tile", type=int, nargs=2, default=(3840, 2160))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tile, model = inputs(*arguments.tile), segmenter(arguments.size)
    balance(model, tile)
    results, least = {}, {}
    racers = contenders(model)
    for turn in range(1 + arguments.repeats):  # the first warms up and compiles
        for name, predictor in racers.items():

            def compute(name: str = name, predictor: Predictor = predictor) -> None:
                batch = predictor.prepared(predictor.stacked([tile]))
                results[name] = np.asarray(predictor(batch, tile.rgb.shape[:2])[0])

            seconds = measured(compute)
            if turn:
                least[name] = tuple(map(min, seconds, least.get(name, seconds)))
    spread = logits(results[REFERENCE]).std()
    print(f"{Path(__file__).name} {vars(arguments)}; standard deviation of logits {spread:.2f}")
    print("| computed by | wall | CPU | largest difference of logits | pixels of another class |")
    print("|---|---|---|---|---|")
    expected = results[REFERENCE]
    for name, (wall, cpu) in least.items():
        ratios = [least[REFERENCE][n] / value for n, value in enumerate((wall, cpu))]
        far = np.abs(logits(results[name]) - logits(expected)).max()
        other = int(((results[name] >= 0.5) != (expected >= 0.5)).any(axis=0).sum())
        print(
            f"| {name} | {wall:.2f} s, {ratios[0]:.1f} x | {cpu:.2f} s, {ratios[1]:.1f} x"
            f" | {far:.1e} | {other} of {expected[0].size} |"
        )


if __name__ == "__main__":
    main()
