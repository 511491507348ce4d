"""Slide-level Dice, and the fit of the colour threshold."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from scored_by_torch import torch_dice
from training_runs import OPTIONS, SIZE, slide, trainer

from holohisto.segmenter.inputs import Inputs
from holohisto.training import scoring
from holohisto.training.sampler import foreground_tiles
from holohisto.training.slides import stack
from holohisto.training.threshold_fit import fit_threshold
from holohisto.training.validation import Validation


def test_threshold_is_fitted_on_the_slides():
    model = fit_threshold([slide(1), slide(2)], 1, (96, 64))
    dice = torch_dice(model, slide(3), (96, 64))
    assert dice[0] > 0.95


class Brightness(torch.nn.Module):
    """Finds what is brighter than the noise, and one false pixel on each tile."""

    needs_tokens, needs_pixels = False, True

    def forward(self, tokens, rgb, size):
        found = rgb.float().mean(dim=1, keepdim=True) - 105
        found[:, :, 0, 0] = 1.0
        return found


def validation_of(slides, model, **arguments):
    fabric = Fabric(accelerator="cpu", devices=1)
    settings = {"workers": 2} | arguments
    return Validation(slides, Inputs(model, None), (96, 64), 16, fabric, **settings)


def empty(seed, known=(True,)):
    """A slide without the class."""
    a_slide = slide(seed, known)
    pixels = a_slide.tissue.slide
    pixels.rgb[pixels.bits > 0] = 20
    pixels.bits[:] = 0
    return a_slide


def test_false_pixels_on_an_empty_slide_do_not_decide():
    """By hand: pixels of all slides count together; a mean over slides would be about a half."""
    slides, model = [slide(3), empty(4)], Brightness()
    tiles = 2 * len(foreground_tiles(slides[0].area, (96, 64), 16))
    positive = int(slides[0].tissue.slide.bits.sum())
    dice = validation_of(slides, model).dice(model)
    least = 2 * positive / (2 * positive + tiles)
    assert least <= dice[0] < 1
    assert dice[0] > 0.99
    assert torch_dice(model, slides[1], (96, 64))[0] == 0


def test_a_class_that_no_slide_shows_does_not_count():
    model = Brightness()
    assert np.isnan(validation_of([empty(4)], model).dice(model)).all()
    assert np.isnan(validation_of([empty(4)], model).mean_dice(model))
    assert np.isnan(validation_of([slide(3, known=(False,))], model).mean_dice(model))
    assert np.isnan(validation_of([], model).mean_dice(model))


def test_pixels_of_slides_on_which_a_class_is_unknown_do_not_count():
    model = Brightness()
    alone = validation_of([slide(3)], model).dice(model)
    assert validation_of([slide(3), empty(4, known=(False,))], model).dice(model) == alone


@pytest.mark.parametrize("workers", [0, 3])
def test_threads_do_not_change_the_validation(workers):
    slides, model = [slide(3), slide(4)], Brightness()
    one = validation_of(slides, model, workers=1).dice(model)
    assert validation_of(slides, model, workers=workers).dice(model) == one


def test_of_many_tiles_some_at_equal_intervals_are_read():
    slides, model = [slide(3), slide(4)], Brightness()
    every = validation_of(slides, model).tiles
    some = validation_of(slides, model, most_tiles=5).tiles
    assert [every.index(tile) for tile in some] == [len(every) * n // 5 for n in range(5)]
    assert {a_slide.name for a_slide, _ in some} == {"slide3", "slide4"}
    assert validation_of(slides, model, most_tiles=len(every)).tiles == every


def test_a_validation_reads_a_tenth_of_the_tiles_of_the_steps_before_it():
    for steps, batch, most in ((1000, 8, 800), (400, 2, 80), (300, 2, 64), (9, 2, 64)):
        options = OPTIONS.model_copy(update={"validate_every": steps, "batch": batch})
        assert trainer(options).plan.validation_tiles == most


def test_unknown_classes_have_no_dice():
    model = fit_threshold([slide(1)], 1, (96, 64))
    unknown = slide(3, known=(False,))
    found = torch_dice(model, unknown, (96, 64))
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

    monkeypatch.setattr(scoring, "stack", spy)
    dice = torch_dice(Model(), a_slide, (320, 240))
    for tile, batch in zip(tiles, masks, strict=True):
        known = batch.known[0, 0][: SIZE[1] - tile.y, : SIZE[0] - tile.x]
        counted[tile.y : tile.y + known.shape[0], tile.x : tile.x + known.shape[1]] += known
    assert len(tiles) > 1
    assert (counted == 1).all()
    positive = a_slide.tissue.slide.bits.mean()
    assert dice[0] == pytest.approx(2 * positive / (1 + positive))
