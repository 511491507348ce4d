"""Trains on one or two CPU ranks and writes the losses: `two_ranks.py RANKS FILE`."""

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


def main() -> None:
    ranks, path = int(sys.argv[1]), Path(sys.argv[2])
    strategy = "ddp" if ranks > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=ranks, strategy=strategy)
    fabric.launch()
    torch.manual_seed(0)
    codebook = torch.linspace(-1, 1, 32 * 4).reshape(32, 4)
    model = build_segmenter(HolohistoModel(size="T", decoder="tokens"), codebook, 16, 1)
    options = MIXED.model_copy(update={"steps": 5, "batch": 4, "learning_rate": 2e-5})
    trainer = Trainer(
        model, [slide(1), slide(2)], [slide(3), slide(4), slide(5)], options, 0, fabric, 1
    )
    losses, shares = [], set()
    step = trainer.step

    def noting(batch):
        shares.add(len(batch.names))
        losses.append(step(batch))
        return losses[-1]

    trainer.step = noting
    with tempfile.TemporaryDirectory() as folder:
        *_, rows = trainer.run(Path(folder) / "checkpoint", "identity")
    if fabric.is_global_zero:
        facts = {"losses": losses, "shares": sorted(shares), "dice": rows[-1].val_dice}
        path.write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
