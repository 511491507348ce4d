"""Dice of a network of torch on a slide: the reference."""

from lightning_fabric import Fabric

from holohisto.segmenter.inputs import Inputs
from holohisto.training.scoring import Count, Reads, slide_dice
from holohisto.training.validation import confusion


def by_torch(model, encoder=None, fabric=None) -> tuple[Count, Reads]:
    """What `slide_dice` and `token_values` are given first."""
    inputs, fabric = Inputs(model, encoder), fabric or Fabric(accelerator="cpu", devices=1)

    def count(batch):
        return confusion(model, inputs, batch, fabric)

    return count, Reads(inputs.tokens, inputs.pixels)


def torch_dice(model, slide, tile, encoder=None, fabric=None):
    return slide_dice(*by_torch(model, encoder, fabric), slide, tile, 16)
