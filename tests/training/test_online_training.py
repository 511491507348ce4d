"""Mode `online`: each tile is encoded by itself, in one precision."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from scored_by_torch import torch_dice
from training_runs import OPTIONS, run, slide

from holohisto.config.models import HolohistoModel
from holohisto.segmenter.file import build_segmenter
from holohisto.segmenter.inputs import Inputs, TileEncoder
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.training.trainer import Trainer


def tiny_tokenizer():
    torch.manual_seed(3)
    made = VQGAN(
        Architecture(
            channels=8, multipliers=(1, 1, 1, 1, 1), residual_blocks=1, codebook=32, dimension=4
        )
    ).eval()
    made.quantize.embedding.weight.data.normal_()
    return made


def tiny_segmenter():
    options = HolohistoModel(size="T", decoder="tokens")
    return build_segmenter(options, torch.randn(32, 4), 16, 1)


def tiles(count=3):
    """Tiles of unlike brightness, so that statistics over the batch would be seen."""
    rgb = np.random.default_rng(0).integers(0, 120, (count, 3, 64, 96), dtype=np.uint8)
    return rgb + (np.arange(count, dtype=np.uint8) * 60)[:, None, None, None]


def test_online_tokens_are_those_of_the_tile_itself():
    tokenizer, rgb = tiny_tokenizer(), tiles()
    tokenizer.use(Statistics.FROZEN)
    inputs = Inputs(tiny_segmenter(), TileEncoder(tokenizer, "fp32"))
    assert (inputs.tokens, inputs.pixels) == (False, True)
    tokens, _ = inputs(None, rgb, torch.device("cpu"))
    tokenizer.use(Statistics.NATIVE)
    assert torch.equal(tokens[1], tokenizer.tokens(torch.from_numpy(rgb[1:2]))[0])
    assert len(tokens.unique()) > 3
    assert torch.equal(tokens, tokenizer.tokens(torch.from_numpy(rgb)))


def test_one_tile_is_encoded_at_a_time(monkeypatch):
    tokenizer, seen = tiny_tokenizer(), []
    latents = tokenizer.latents

    def watched(x):
        seen.append(tuple(x.shape))
        return latents(x)

    monkeypatch.setattr(tokenizer, "latents", watched)
    TileEncoder(tokenizer, "fp32")(torch.from_numpy(tiles(5)))
    assert seen == [(1, 3, 64, 96)] * 5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_online_tokens_are_in_the_given_precision_whatever_autocast_surrounds_them(precision):
    inputs = Inputs(tiny_segmenter(), TileEncoder(tiny_tokenizer(), precision))
    alone, _ = inputs(None, tiles(), torch.device("cpu"))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            within, _ = inputs(None, tiles(), torch.device("cpu"))
        assert torch.equal(alone, within)
    other = "bf16" if precision == "fp32" else "fp32"
    others = TileEncoder(tiny_tokenizer(), other)(torch.from_numpy(tiles()))
    assert (alone != others).any()


def test_validation_online_sees_the_tokens_of_training():
    """Under mixed precision the network's products are rounded, the tokens are not."""
    tokenizer, encoded = tiny_tokenizer(), []
    encoder = TileEncoder(tokenizer, "fp32")

    class Watched(torch.nn.Module):
        needs_tokens, needs_pixels = True, True

        def forward(self, tokens, rgb, size):
            assert torch.is_autocast_enabled("cpu")
            encoded.append((tokens, rgb))
            return torch.zeros(1, 1, *size)

    model = Watched()
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    torch_dice(model, slide(3), (96, 64), encoder, fabric)
    assert len(encoded) > 3
    for tokens, rgb in encoded:
        assert torch.equal(tokens, tokenizer.tokens(rgb))


def test_training_online_runs_without_token_maps(tmp_path):
    tokenizer = tiny_tokenizer()
    encoder = TileEncoder(tokenizer, "fp32")
    slides = [slide(1), slide(2), slide(3)]
    for one in slides:
        one.token_map = None
    model = build_segmenter(HolohistoModel(size="T"), tokenizer.quantize.codes, 16, 1)
    options = OPTIONS.model_copy(update={"steps": 9})
    fabric = Fabric(accelerator="cpu", devices=1)
    a_trainer = Trainer(model, slides[:2], slides[2:], options, 0, fabric, 0, encoder=encoder)
    rows = run(a_trainer, tmp_path)
    assert len(rows) == 1
    assert 0 <= rows[0].val_dice <= 1
