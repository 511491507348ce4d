"""The shift of logits that undoes what sampling around annotated objects does to frequencies."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from training_runs import OPTIONS, slide, trainer

from holohisto.config.models import HolohistoModel, UnetModel
from holohisto.segmenter.file import build_segmenter
from holohisto.tiles.variants import Variant
from holohisto.training.prior import prior_shift
from holohisto.training.sampler import ORIGINAL_ONLY, GridSampler, RandomSampler, SamplingArea

CELL = 16


def area(foreground, annotated):
    rows, columns = foreground.shape
    return SamplingArea((columns * CELL, rows * CELL), CELL, foreground, annotated)


def shift(areas, known, share, sampler=RandomSampler, tile=(16, 16), variants=ORIGINAL_ONLY):
    slides = [SimpleNamespace(area=a, known=np.array(k)) for a, k in zip(areas, known, strict=True)]
    settings = (share,) if sampler is RandomSampler else ()
    return prior_shift(slides, sampler(areas, tile, CELL, 0, *settings, variants))


def logit(share):
    return np.log(share / (1 - share))


def lonely(side=40, class_bits=1):
    """Foreground but for 100 cells; 15 of the 1500 foreground cells have the class."""
    foreground = np.ones((side, side), bool)
    foreground[30:, 30:] = False
    annotated = np.zeros((side, side), np.uint8)
    annotated[2:5, 2:7] = class_bits
    annotated[35:, 35:] = class_bits  # outside of the foreground: does not count
    return area(foreground, annotated)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_tiles_of_one_cell_show_a_class_as_often_as_they_are_drawn_around_it(share):
    """Each tile is one cell: annotated ones make up `share`, and 1 % of the others."""
    (found,) = shift([lonely()], [(True,)], share)
    in_tiles = share + (1 - share) * 0.01
    assert found == pytest.approx(logit(0.01) - logit(in_tiles), abs=0.2)


def test_by_hand_over_the_tiles_that_are_sampled():
    """Larger tiles, scaled and transposed variants: counted cell by cell."""
    variants = (Variant(), Variant(5, 2.0))
    one = lonely()
    sampler = RandomSampler([one], (96, 64), CELL, 0, 0.5, variants)
    present = absent = 0
    for n in range(512):
        sample = sampler(n)
        scale = variants[sample.variant].scale
        for row in range(40):
            for column in range(40):
                y, x = (scale * (CELL * at + CELL / 2) for at in (row, column))
                inside = (
                    sample.tile.y <= y < sample.tile.y + sample.tile.height
                    and sample.tile.x <= x < sample.tile.x + sample.tile.width
                )
                if inside and one.foreground[row, column]:
                    present += one.annotated[row, column] > 0
                    absent += one.annotated[row, column] == 0
    found = shift([one], [(True,)], 0.5, tile=(96, 64), variants=variants)
    assert found[0] == pytest.approx(np.log(15 / 1485) - np.log(present / absent), rel=1e-9)
    assert found[0] < -1


def test_nothing_is_shifted_where_nothing_is_preferred():
    assert shift([lonely()], [(True,)], 0.0).tolist() == [0]
    assert shift([lonely()], [(True,)], 0.5, GridSampler).tolist() == [0]


def test_a_class_that_is_unknown_never_or_always_there_is_not_shifted():
    first, second = lonely(class_bits=0b0010), lonely(class_bits=0b1010)
    first.annotated[...] |= 0b0001
    second.annotated[...] |= 0b0001
    known = [(True, True, True, False), (True, True, True, False)]
    found = shift([first, second], known, 0.5)
    assert found[[0, 2, 3]].tolist() == [0, 0, 0]  # always, never, unknown
    assert found[1] != 0
    assert shift([lonely()], [(True,)], 1.0).tolist() == [0]  # in every tile, each of one cell


def test_slides_on_which_a_class_is_unknown_do_not_count_for_it():
    """On the second slide 0.1 of the cells have class 1, class 0 is unknown and drawn, too."""
    other = area(np.ones((30, 50), bool), np.zeros((30, 50), np.uint8))
    other.annotated[:3] = 0b10
    found = shift([lonely(), other], [(True, False), (False, True)], 0.5)
    # Of the tiles around annotated cells, 15 of 165 are on the first slide.
    for c, (cells, marked) in enumerate([(1500, 15), (1500, 150)]):
        drawn = 0.5 * marked / 165
        others = 0.5 * cells / 3000
        in_tiles = (drawn + others * marked / cells) / (drawn + others)
        assert found[c] == pytest.approx(logit(marked / cells) - logit(in_tiles), abs=0.35)


@torch.no_grad()
@pytest.mark.parametrize(
    "options", [HolohistoModel(size="T"), HolohistoModel(size="T", decoder="tokens"), UnetModel()]
)
def test_logits_are_shifted_in_evaluation_only(options):
    torch.manual_seed(0)
    model = build_segmenter(options, torch.randn(32, 4), 16, 2).eval()
    tokens = torch.randint(0, 32, (1, 4, 4))
    rgb = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    before = model(tokens, rgb, (64, 64))
    model.prior.shift.copy_(torch.tensor([-1.5, 0.25]))
    after = model(tokens, rgb, (64, 64))
    expected = torch.tensor([-1.5, 0.25])[None, :, None, None].expand_as(before)
    torch.testing.assert_close(after - before, expected)
    shifted, plain = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    plain.prior.shift.zero_()
    torch.manual_seed(1)  # a network's own dropout
    in_training = shifted(tokens, rgb, (64, 64))
    torch.manual_seed(1)
    assert torch.equal(in_training, plain(tokens, rgb, (64, 64)))


def test_a_training_stores_the_shift_in_its_weights_and_their_average():
    slides = [slide(1), slide(2)]
    for a_slide in slides:
        a_slide.area.annotated[:, :-2] = 0
    a_trainer = trainer(OPTIONS.model_copy(update={"annotated_share": 0.75}), slides=slides)
    expected = prior_shift(slides, a_trainer.batches.sampler)
    assert expected[0] < -0.1
    for model in (a_trainer.raw_model, a_trainer.average.model):
        np.testing.assert_allclose(model.prior.shift.numpy(), expected, rtol=1e-6)
    a_trainer.model.train()
    a_trainer.step(a_trainer.batches.read(0))
    np.testing.assert_allclose(
        a_trainer.average.model.state_dict()["prior.shift"].numpy(), expected, rtol=1e-6
    )
    uniform = trainer(OPTIONS.model_copy(update={"annotated_share": 0.0}), slides=slides)
    assert uniform.raw_model.prior.shift.tolist() == [0]
