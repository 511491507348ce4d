"""Mode `online`: each tile is encoded itself."""

import numpy as np
import torch
from lightning_fabric import Fabric
from training_runs import OPTIONS, run, slide

from holohisto.config.models import HolohistoModel
from holohisto.segmenter.file import build_segmenter
from holohisto.segmenter.inputs import Inputs
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.training.trainer import Trainer


def test_online_tokens_are_those_of_the_tile_itself():
    torch.manual_seed(3)
    tokenizer = VQGAN(
        Architecture(
            channels=8, multipliers=(1, 1, 1, 1, 1), residual_blocks=1, codebook=32, dimension=4
        )
    ).eval()
    tokenizer.quantize.embedding.weight.data.normal_()
    tokenizer.use(Statistics.FROZEN)
    segmenter = build_segmenter(
        HolohistoModel(size="T", decoder="tokens"), torch.randn(32, 4), 16, 1
    )
    inputs = Inputs(segmenter, tokenizer)
    assert (inputs.tokens, inputs.pixels) == (False, True)
    rgb = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 96), dtype=np.uint8)
    tokens, _ = inputs(None, rgb, torch.device("cpu"))
    tokenizer.use(Statistics.NATIVE)
    assert torch.equal(tokens[1], tokenizer.tokens(torch.from_numpy(rgb[1:]))[0])
    assert len(tokens.unique()) > 3


def test_training_online_runs_without_token_maps(tmp_path):
    torch.manual_seed(0)
    tokenizer = VQGAN(
        Architecture(
            channels=8, multipliers=(1, 1, 1, 1, 1), residual_blocks=1, codebook=32, dimension=4
        )
    ).eval()
    tokenizer.quantize.embedding.weight.data.normal_()
    slides = [slide(1), slide(2), slide(3)]
    for one in slides:
        one.token_map = None
    model = build_segmenter(HolohistoModel(size="T"), tokenizer.quantize.codes, 16, 1)
    options = OPTIONS.model_copy(update={"epochs": 1})
    fabric = Fabric(accelerator="cpu", devices=1)
    a_trainer = Trainer(model, slides[:2], slides[2:], options, 0, fabric, 0, tokenizer=tokenizer)
    rows = run(a_trainer, tmp_path)
    assert len(rows) == 1
    assert 0 <= rows[0].val_dice <= 1
