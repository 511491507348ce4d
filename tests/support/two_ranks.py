"""Trains on one or two CPU ranks and writes the losses: `two_ranks.py RANKS FILE SEED...`.

In fp64. A norm divides by the spread of its channel, and linear attention by sums that may be near
zero, so that in fp32 the rounding of some tiles, in whatever order, grows to a percent.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from lightning_fabric import Fabric
from training_runs import MIXED, slide

from holohisto.config.models import HolohistoModel
from holohisto.segmenter.file import build_segmenter
from holohisto.training.trainer import Trainer

OPTIONS = MIXED.model_copy(update={"steps": 5, "batch": 4, "learning_rate": 1e-4})


def main() -> None:
    ranks, path, seeds = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    torch.set_default_dtype(torch.float64)
    strategy = "ddp" if ranks > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=ranks, strategy=strategy, precision="64-true")
    fabric.launch()
    facts = {seed: train(fabric, int(seed)) for seed in seeds}
    if fabric.is_global_zero:
        path.write_text(json.dumps(facts))


def train(fabric: Fabric, seed: int) -> dict:
    """Train with a seed; returns the losses, the tiles of each step on a rank, and the result."""
    torch.manual_seed(0)
    codebook = torch.linspace(-1, 1, 32 * 4).reshape(32, 4)
    model = build_segmenter(HolohistoModel(size="T", decoder="tokens"), codebook, 16, 1)
    trainer = Trainer(
        model, [slide(1), slide(2)], [slide(3), slide(4), slide(5)], OPTIONS, seed, fabric, 1
    )
    losses, shares = [], set()
    step = trainer.step

    def noting(drawn):
        shares.add(len(drawn.batch.names))
        losses.append(step(drawn))
        return losses[-1]

    trainer.step = noting
    with tempfile.TemporaryDirectory() as folder:
        *_, rows = trainer.run(Path(folder) / "checkpoint", "identity")
    state = {name: value.double() for name, value in model.state_dict().items()}
    return {
        "losses": losses,
        "shares": sorted(shares),
        "dice": rows[-1].val_dice,
        "state": {
            name: [value.mean().item(), value.norm().item()] for name, value in state.items()
        },
    }


if __name__ == "__main__":
    main()
