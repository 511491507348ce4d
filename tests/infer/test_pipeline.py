import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from holohisto.config.models import HolohistoModel
from holohisto.infer.clock import Clock, bottleneck
from holohisto.infer.job import Job, Speed
from holohisto.infer.pipeline import blended_bands, finished_bands
from holohisto.infer.predictor import TileInputs
from holohisto.infer.torch_engine import TorchPredictor
from holohisto.segmenter.file import build_segmenter
from holohisto.tiles.grid import Tile, tile_rows

SIZE = (611, 443)


class Convolution(nn.Module):
    """A segmenter of one convolution, so that only stitching is tested."""

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
        inside = rgb[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
        out[: inside.shape[0], : inside.shape[1]] = inside
        return TileInputs(None, out)

    return read


def segment(rgb, tile, overlap, wanted=lambda tile: True):
    job = Job((rgb.shape[1], rgb.shape[0]), tile, overlap, wanted, 16, 2)
    return torch.cat(probabilities(rgb, job), dim=1).numpy()


def probabilities(rgb, job):
    predictor = TorchPredictor(Convolution())
    bands = blended_bands(predictor, reader(rgb), job, Speed(), Clock())
    return [band.clone() for band, _ in bands]


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
    results = segment(picture(), tile, 0.25)
    assert results.shape == (2, SIZE[1], SIZE[0])
    with torch.no_grad():
        rgb = torch.from_numpy(picture()).permute(2, 0, 1)[None]
        exact = Convolution()(None, rgb, None)[0].sigmoid().numpy()
    inner = np.s_[:, 4:-4, 4:-4]
    assert np.abs(results[inner] - exact[inner]).mean() < 0.01
    assert (results > 0).all()


def test_skipped_tiles_leave_zero_and_change_nothing_else():
    def wanted(tile):
        return tile.x + tile.width <= 400 and tile.y >= 100

    results = segment(picture(), (128, 96), 0.25, wanted)
    rows = tile_rows(SIZE, (128, 96), 0.25, 16)
    covered = np.zeros(SIZE[::-1], bool)
    for row in rows:
        for tile in row:
            if wanted(tile):
                covered[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = True
    assert 0 < covered.mean() < 1
    assert (results[:, ~covered] == 0).all()
    assert (results[:, covered] > 0).all()


def test_only_the_open_rows_are_kept():
    tall = np.zeros((1203, 211, 3), np.uint8)
    job = Job((211, 1203), (128, 96), 0.25, lambda tile: True, 16, 2)
    heights = [band.shape[1] for band in probabilities(tall, job)]
    assert sum(heights) == 1203
    assert max(heights) <= 96


class Given(nn.Module):
    """A segmenter whose logits are in the picture: red for class 0, green for class 1."""

    needs_tokens, needs_pixels, downscale = False, True, 16

    def __init__(self):
        super().__init__()
        self.register_buffer("nothing", torch.zeros(1))

    def forward(self, tokens, rgb, size):
        return (rgb[:, :2].float() - 128) / 32


def run(model, rgb, job, first=0):
    return list(finished_bands(TorchPredictor(model), reader(rgb), job, first=first))


def joined(bands):
    bands = list(bands)
    return [
        np.concatenate([getattr(band, name) for band in bands])
        for name in ("labels", "probability")
    ] + [sum(band.seam for band in bands)]


def test_labels_hold_one_bit_a_class_and_the_small_picture_the_largest_mean():
    rgb = np.full((90, 131, 3), 96, np.uint8)
    rgb[20:60, 30:91, 0] = 160
    rgb[40:80, 60:120, 1] = 128  # probability 0.5: the class
    job = Job((131, 90), (64, 48), 0.25, lambda tile: True, 16, 2)
    labels, probability, _ = joined(run(Given(), rgb, job))
    expected = (rgb[..., 0] == 160) * 1 + (rgb[..., 1] == 128) * 2
    assert np.array_equal(labels, expected)
    assert probability.shape == (23, 33)
    high, middle, low = (round(255 / (1 + np.exp(-v))) for v in (1, 0, -1))
    assert (probability[6, 10], probability[11, 17], probability[15, 20]) == (high, high, middle)
    assert probability[0, 0] == low
    assert probability[22, 32] == low  # the cut block


SPEEDS = [
    Speed(2, 1, 1),
    Speed(5, 3, 7),
    Speed(1, 2, 2, 3),
    Speed(3, 4, 1, 2),
]


@pytest.mark.parametrize("speed", SPEEDS)
def test_no_batch_thread_or_queue_alters_a_bit(speed):
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="T"), torch.randn(64, 8), 16, 2).eval()
    model.requires_grad_(False)
    tokens = np.random.default_rng(2).integers(0, 64, (32, 42))
    pixels = reader(picture())

    def read(tile):
        inside = tokens[tile.y // 16 :, tile.x // 16 :][: tile.height // 16, : tile.width // 16]
        return TileInputs(inside, pixels(tile).rgb)

    some, rgb = (torch.from_numpy(array)[None] for array in read(Tile(0, 0, 176, 128)))
    logits = model(some, rgb.permute(0, 3, 1, 2), (128, 176))
    model.decoder.head.bias -= logits.mean(dim=(0, 2, 3))  # near the threshold
    job = Job(SIZE, (176, 128), 0.25, lambda tile: (tile.x + tile.y) % 5 != 0, 16, 2)
    results = [
        joined(finished_bands(TorchPredictor(model), read, job, each))
        for each in (Speed(1, 1, 1), speed)
    ]
    assert len(np.unique(results[0][0])) > 1
    for plain, fast in zip(*results, strict=True):
        assert np.array_equal(plain, fast)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
def test_bands_are_the_same_from_any_first_band_on(overlap):
    job = Job(SIZE, (176, 96), overlap, lambda tile: (tile.x + tile.y) % 5 != 0, 16, 2)
    whole = run(Convolution(), picture(), job)
    assert len(whole) == len(job.ends) > 4
    for first in range(len(whole) + 1):
        rest = run(Convolution(), picture(), job, first=first)
        assert len(rest) == len(whole) - first
        for resumed, expected in zip(rest, whole[first:], strict=True):
            for name in ("labels", "probability", "seam"):
                assert np.array_equal(getattr(resumed, name), getattr(expected, name))


def test_tiles_that_see_the_same_disagree_nowhere():
    *_, seam = joined(run(Given(), picture(), Job(SIZE, (128, 96), 0.25, bool, 16, 2)))
    assert (seam[:, 0] == 0).all()
    assert (seam[:, 1] > 0).all()


class Sided(Given):
    """Finds the class in the left half of every tile only."""

    def forward(self, tokens, rgb, size):
        logits = torch.full((len(rgb), 2, *size), -4.0)
        logits[..., : size[1] // 2] = 4
        return logits


def test_seams_are_counted_where_overlapping_tiles_differ():
    """Two tiles of 128 x 64 that share columns 64 to 127: there they disagree."""
    rgb = np.zeros((64, 192, 3), np.uint8)
    job = Job((192, 64), (128, 64), 0.5, lambda tile: True, 16, 2)
    (band,) = run(Sided(), rgb, job)
    strips = 2 * 16 * 64  # after the second tile's border, and before the first one's
    assert band.seam.tolist() == [[strips, strips]] * 2
    alone = Job((192, 64), (128, 64), 0.5, lambda tile: tile.x == 0, 16, 2)
    assert run(Sided(), rgb, alone)[0].seam.tolist() == [[0, 0]] * 2
    apart = Job((256, 64), (128, 64), 0.0, lambda tile: True, 16, 2)
    assert run(Sided(), np.zeros((64, 256, 3), np.uint8), apart)[0].seam.tolist() == [[0, 0]] * 2


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        ({"read": 9, "tokenise": 0, "model": 2, "stitch": 1, "write": 1}, "model"),
        ({"read": 13, "tokenise": 0, "model": 2, "stitch": 1, "write": 1}, "read"),
        ({"read": 1, "tokenise": 4, "model": 2, "stitch": 1, "write": 6}, "tokenise"),
        ({"read": 1, "tokenise": 4, "model": 2, "stitch": 1, "write": 8}, "write"),
    ],
)
def test_the_bottleneck_is_the_slowest_concurrent_stage(seconds, name):
    assert bottleneck(seconds, readers=4) == name
