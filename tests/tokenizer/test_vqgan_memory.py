"""What the VQGAN keeps in memory while it encodes and decodes."""

import weakref

import pytest
import torch
from torch import nn

from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.vqgan import VQGAN


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_the_input_of_a_level_is_freed_after_its_first_block(part):
    """It was kept to the end of the level: a quarter more memory at full resolution."""
    model = VQGAN(
        Architecture(channels=8, multipliers=(1, 2), residual_blocks=2, codebook=8, dimension=4)
    ).eval()
    network = getattr(model, part)
    level = network.down[0] if part == "encoder" else network.up[0]
    before = network.conv_in if part == "encoder" else network.up[1].upsample
    outputs: list[weakref.ref] = []
    freed: list[bool] = []
    before.register_forward_hook(lambda module, inputs, out: outputs.append(weakref.ref(out)))

    def look(module: nn.Module, inputs: object) -> None:
        freed.append(outputs[0]() is None)

    level.block[1].register_forward_pre_hook(look)
    x = torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        latents = model.latents(x)
        if part == "decoder":
            model.decode(latents)
    assert freed == [True]
