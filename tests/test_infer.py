import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from holohisto import infer
from holohisto.grid import tile_rows
from holohisto.segmenter.inputs import Inputs

SIZE = (611, 443)


class Convolution(nn.Module):
    """A segmenter of one convolution, so that only stitching is at stake."""

    needs_tokens, needs_pixels, downscale = False, True, 16

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 2, 7, padding=3)
        self.register_buffer("nothing", torch.zeros(1))

    def forward(self, tokens, rgb, size):
        return self.layer(rgb.float() / 255)


def picture():
    return np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def reader(rgb):
    def read(tile):
        out = np.zeros((tile.height, tile.width, 3), np.uint8)
        part = rgb[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
        out[: part.shape[0], : part.shape[1]] = part
        return None, out

    return read


def segment(rgb, tile, overlap, wanted=lambda tile: True):
    job = infer.Job((rgb.shape[1], rgb.shape[0]), tile, overlap, wanted, 16)
    model = Convolution()
    bands = infer.probability_bands(model, Inputs(model, None), reader(rgb), job, 2)
    return torch.cat(list(bands), dim=1).numpy()


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_bands_equal_monai_gaussian_sliding_window(overlap):
    """On a size where both lay their tiles alike: 16 + 128 k."""
    rgb = np.random.default_rng(1).integers(0, 256, (448, 640, 3), dtype=np.uint8)
    model = Convolution()
    theirs = sliding_window_inference(
        torch.from_numpy(rgb).permute(2, 0, 1)[None].float(),
        (128, 256),
        4,
        lambda x: model(None, x, None).sigmoid(),
        overlap=overlap,
        mode="gaussian",
    )[0]
    ours = segment(rgb, (256, 128), overlap)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("tile", [(256, 128), (176, 208), (2000, 96), (2000, 2000)])
def test_result_covers_the_slide_whatever_the_tile(tile):
    found = segment(picture(), tile, 0.25)
    assert found.shape == (2, SIZE[1], SIZE[0])
    with torch.no_grad():
        rgb = torch.from_numpy(picture()).permute(2, 0, 1)[None]
        exact = Convolution()(None, rgb, None)[0].sigmoid().numpy()
    inner = np.s_[:, 4:-4, 4:-4]
    assert np.abs(found[inner] - exact[inner]).mean() < 0.01
    assert (found > 0).all()


def test_skipped_tiles_leave_zero_and_change_nothing_else():
    def wanted(tile):
        return tile.x + tile.width <= 400 and tile.y >= 100

    found = segment(picture(), (128, 96), 0.25, wanted)
    rows = tile_rows(SIZE, (128, 96), 0.25, 16)
    covered = np.zeros(SIZE[::-1], bool)
    for row in rows:
        for tile in row:
            if wanted(tile):
                covered[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = True
    assert 0 < covered.mean() < 1
    assert (found[:, ~covered] == 0).all()
    assert (found[:, covered] > 0).all()


def test_only_the_open_rows_are_kept():
    tall = np.zeros((1203, 211, 3), np.uint8)
    job = infer.Job((211, 1203), (128, 96), 0.25, lambda tile: True, 16)
    model = Convolution()
    bands = infer.probability_bands(model, Inputs(model, None), reader(tall), job, 2)
    heights = [band.shape[1] for band in bands]
    assert sum(heights) == 1203
    assert max(heights) <= 96


def test_labels_hold_one_bit_a_class_and_the_small_picture_the_largest_mean(tmp_path):
    probability = torch.zeros(3, 10, 14)
    probability[0, 2:6, 3:9] = 0.9
    probability[2, 4:8, 3:9] = 0.5
    small = infer.Quarter((14, 10), tmp_path)
    bands = iter([probability[:, :3], probability[:, 3:9], probability[:, 9:]])
    labels = np.concatenate(list(infer.label_bands(bands, 0.5, small)))
    assert labels.shape == (10, 14)
    assert (labels[2, 3], labels[4, 3], labels[7, 8], labels[8, 8]) == (1, 5, 4, 0)
    quarter = np.concatenate(list(small.bands()))
    assert quarter.shape == (3, 4)
    block = probability.amax(0)[0:4, 4:8].mean()
    assert quarter[0, 1] == round(float(block) * 255)
