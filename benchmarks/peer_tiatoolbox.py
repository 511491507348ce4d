"""A whole slide through our verbs and through tiatoolbox's SemanticSegmentor.

    python -m venv peer && peer/bin/pip install tiatoolbox && peer/bin/pip install --no-deps monai
    python benchmarks/peer_tiatoolbox.py --python peer/bin/python

The same U-Net (MONAI's, the same weights), the same synthetic slide, all of it tissue, tiles of
1024 x 1024 that overlap by a quarter; both write a label map to disk. The time of ours is that of
three processes (check, foreground, infer), including the import of libraries; that of tiatoolbox is
the time of `run` alone. Memory is that of all processes of a contender, sampled ten times a second,
shared pages counted once. Targets: three times as fast as tiatoolbox, in a fifth of its memory.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from verbs import command

if TYPE_CHECKING:
    from tiatoolbox.models.models_abc import ModelABC

TILE, STRIDE, BATCH = 1024, 768, 4
FASTER, SMALLER = 3, 5


def watched(command: list[str]) -> tuple[float, float, str]:
    """Run a command; returns its seconds, the peak megabytes of its tree, and what it printed."""
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output: list[str] = []
    reader = threading.Thread(target=lambda: output.extend(process.communicate()))
    reader.start()
    while reader.is_alive():
        with contextlib.suppress(psutil.Error):  # a process may end between two samples
            top = psutil.Process(process.pid)
            tree = [top, *top.children(recursive=True)]
            peak = max(peak, sum(member.memory_full_info().pss for member in tree))
        reader.join(0.1)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(output[1])
    return seconds, peak / 2**20, output[0]


def prepare(folder: Path, size: tuple[int, int], channels: list[int]) -> None:
    """Write slide, segmenter and the same weights for the peer."""
    import tissue_slide
    import torch

    from holohisto.config.models import UnetModel
    from holohisto.segmenter.card import ModelCard
    from holohisto.segmenter.file import build_segmenter, save_segmenter

    tissue_slide.write(folder / "slide.tif", size)
    torch.manual_seed(0)
    options = UnetModel(channels=tuple(channels), tile=(TILE, TILE))
    model = build_segmenter(options, None, 1, 1)
    card = ModelCard("unet", options, ("a",), 0.5, (TILE, TILE), None, 1, "frozen", None, {})
    save_segmenter(model.state_dict(), card, folder / "segmenter.safetensors")
    torch.save(model.network.state_dict(), folder / "weights.pt")


def ours(folder: Path, threads: int) -> tuple[float, float, float]:
    """Seconds of all verbs, the largest peak, and seconds of the network alone."""
    image, options = folder / "slide.tif", {"tile": [TILE, TILE], "overlap": 0.25}
    record, foreground = folder / "check.json", folder / "foreground.tif"
    slide = {"record": record, "foreground": foreground}
    commands = [
        command("check", image, slide="s", output=record),
        command("foreground", image, picture=folder / "f.jpg", **slide),
        command(
            "infer",
            image,
            segmenter=folder / "segmenter.safetensors",
            options=json.dumps(options),
            labels=folder / "labels.tif",
            probability=folder / "p.tif",
            threads=threads,
            facts=folder / "facts.json",
            **slide,
        ),
    ]
    runs = [watched([sys.executable, "-m", "holohisto.cli", *words]) for words in commands]
    network = json.loads((folder / "facts.json").read_text())["stages"]["model"]
    return sum(run[0] for run in runs), max(run[1] for run in runs), network


def theirs(folder: Path, python: str, threads: int, channels: list[int]) -> tuple[float, float]:
    """Seconds of `run` and the peak."""
    words = [python, __file__, "--peer", str(folder), "--threads", str(threads)]
    _, peak, output = watched([*words, "--channels", *map(str, channels)])
    return float(output.split()[-1]), peak


def peer_network(weights: Path, channels: list[int]) -> "ModelABC":
    """The U-Net as a model of tiatoolbox, from saved weights."""
    import torch
    from monai.networks.nets.unet import UNet
    from tiatoolbox.models.models_abc import ModelABC

    class Model(ModelABC):
        def __init__(self) -> None:
            super().__init__()
            self.network = UNet(
                spatial_dims=2,
                in_channels=3,
                out_channels=1,
                channels=channels,
                strides=(2,) * (len(channels) - 1),
                num_res_units=2,
            )
            self.network.load_state_dict(torch.load(weights))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits = self.network(pixels.contiguous(memory_format=torch.channels_last))
            probability = logits.sigmoid()
            return torch.cat([1 - probability, probability], dim=1)

        @staticmethod
        def infer_batch(model: "Model", batch_data: torch.Tensor, *, device: str) -> np.ndarray:
            mean = 255 * torch.tensor([0.485, 0.456, 0.406])[:, None, None]
            spread = 255 * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
            with torch.inference_mode():
                pixels = (batch_data.permute(0, 3, 1, 2).float() - mean) / spread
                return model(pixels).permute(0, 2, 3, 1).numpy()

    return Model().eval()


def peer(folder: Path, threads: int, channels: list[int]) -> None:
    """In the peer's environment: run its engine, print its seconds."""
    import torch
    from tiatoolbox.models.engine.io_config import IOSegmentorConfig
    from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor

    torch.set_num_threads(threads)
    level = [{"units": "baseline", "resolution": 1.0}]
    layout = IOSegmentorConfig(
        input_resolutions=level,
        output_resolutions=level,
        save_resolution=level[0],
        patch_input_shape=[TILE, TILE],
        patch_output_shape=[TILE, TILE],
        stride_shape=[STRIDE, STRIDE],
    )
    model = peer_network(folder / "weights.pt", channels)
    engine = SemanticSegmentor(model, batch_size=BATCH, num_workers=1, device="cpu")
    start = time.perf_counter()
    engine.run(
        [folder / "slide.tif"],
        patch_mode=False,
        ioconfig=layout,
        save_dir=folder / "peer",
        auto_get_mask=False,
        output_type="zarr",
        overwrite=True,
        wsireader_kwargs={"mpp": 0.5},
    )
    print(time.perf_counter() - start)


def main() -> None:
    """Race both in turns; exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", help="of the environment that has tiatoolbox and monai")
    parser.add_argument("--size", type=int, nargs=2, default=(8_003, 8_017))
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    threads, channels = arguments.threads, arguments.channels
    if arguments.peer:
        peer(arguments.peer, threads, channels)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, tuple(arguments.size), channels)
        runs = [
            (ours(folder, threads), theirs(folder, arguments.python, threads, channels))
            for _ in range(arguments.repeats)
        ]
    mine, other = (tuple(map(min, zip(*side, strict=True))) for side in zip(*runs, strict=True))
    print(f"ours        {mine[0]:8.1f} s {mine[1]:8.0f} MB, the network alone {mine[2]:.1f} s")
    print(f"tiatoolbox  {other[0]:8.1f} s {other[1]:8.0f} MB")
    faster, smaller = other[0] / mine[0], other[1] / mine[1]
    beside = (other[0] - mine[2]) / (mine[0] - mine[2])
    print(f"{faster:.1f} times as fast, 1/{smaller:.1f} of the memory")
    print(f"{beside:.1f} times as fast outside the network")
    sys.exit(faster < FASTER or smaller < SMALLER)


if __name__ == "__main__":
    main()
