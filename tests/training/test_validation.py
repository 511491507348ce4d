"""Slide-level Dice, and the fit of the colour threshold."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from training_runs import SIZE, slide

from holohisto.segmenter.inputs import Inputs
from holohisto.training import validation
from holohisto.training.sampler import foreground_tiles
from holohisto.training.slides import stack
from holohisto.training.threshold_fit import fit_threshold
from holohisto.training.validation import slide_dice


def test_threshold_is_fitted_on_the_slides():
    model = fit_threshold([slide(1), slide(2)], 1, (96, 64))
    dice = slide_dice(model, Inputs(model, None), slide(3), (96, 64), 16, Fabric(accelerator="cpu"))
    assert dice[0] > 0.95


def test_unknown_classes_have_no_dice():
    model = fit_threshold([slide(1)], 1, (96, 64))
    fabric = Fabric(accelerator="cpu")
    unknown = slide(3, known=(False,))
    found = slide_dice(model, Inputs(model, None), unknown, (96, 64), 16, fabric)
    assert np.isnan(found[0])


def test_validation_counts_every_pixel_of_the_slide_once(monkeypatch):
    """The last row and column of tiles are pulled back over the ones before."""
    counted = np.zeros(SIZE[::-1], int)
    tiles = foreground_tiles(slide(3).area, (320, 240), 16)
    a_slide = slide(3)
    masks = []

    class Model(torch.nn.Module):
        needs_tokens, needs_pixels = False, True

        def forward(self, tokens, rgb, size):
            return torch.ones(1, 1, *size)  # everything is found

    whole = stack

    def spy(*arguments):
        batch = whole(*arguments)
        masks.append(batch)
        return batch

    monkeypatch.setattr(validation, "stack", spy)
    dice = slide_dice(
        Model(), Inputs(Model(), None), a_slide, (320, 240), 16, Fabric(accelerator="cpu")
    )
    for tile, batch in zip(tiles, masks, strict=True):
        known = batch.known[0, 0][: SIZE[1] - tile.y, : SIZE[0] - tile.x]
        counted[tile.y : tile.y + known.shape[0], tile.x : tile.x + known.shape[1]] += known
    assert len(tiles) > 1
    assert (counted == 1).all()
    positive = a_slide.tissue.slide.bits.mean()
    assert dice[0] == pytest.approx(2 * positive / (1 + positive))
