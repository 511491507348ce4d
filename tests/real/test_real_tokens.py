"""Token maps of real tissue: a function of slide and tokenizer, whatever the tiling."""

import numpy as np
import pytest
import torch

from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide import Slide
from holohisto.tiles.grid import Tile
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.encode import Encoding, encode
from holohisto.tokens.encoders import LocalEncoder

pytestmark = pytest.mark.data
CORNER, SIZE = (1180, 317), (1819, 1333)
"""A region of a slide, over the borders of its pieces of tissue: tissue and glass."""
SHAPE = (ceil_div(SIZE[1], 16), ceil_div(SIZE[0], 16))


@pytest.fixture(scope="module")
def slide(data):
    with Slide(data / "slides" / "mosaic_a.tif") as opened:
        yield opened


@pytest.fixture(scope="module")
def read(slide):
    """Reads tiles of the region as if it were the slide: background around it."""
    region = slide.read(CORNER, SIZE)

    def tile(t: Tile) -> np.ndarray:
        out = np.empty((t.height, t.width, 3), np.uint8)
        out[:] = slide.background
        rows = slice(max(t.y, 0), max(0, min(t.y + t.height, SIZE[1])))
        columns = slice(max(t.x, 0), max(0, min(t.x + t.width, SIZE[0])))
        inner = region[rows, columns]
        y, x = rows.start - t.y, columns.start - t.x
        out[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
        return out

    return tile


@pytest.fixture(scope="module")
def model(read):
    """The published architecture (f = 16, two residual blocks), narrow, frozen on the tissue."""
    torch.manual_seed(0)
    made = VQGAN(
        Architecture(
            channels=16, multipliers=(1, 1, 2, 2, 4), residual_blocks=2, codebook=512, dimension=16
        )
    )
    made.eval().requires_grad_(False)
    squares = [read(Tile(y, x, 320, 256)) for y in (100, 700) for x in (200, 900, 1400)]
    calibrate(made, squares)
    latents = torch.cat(
        [made.latents(made.pixels(torch.from_numpy(s).permute(2, 0, 1)[None])) for s in squares]
    )
    flat = latents.reshape(-1, 16)
    made.quantize.embedding.weight.copy_(flat[torch.randperm(len(flat))[:512]])
    return made.to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def whole(model, read):
    """All tokens in one piece, by the model itself."""
    rgb = read(Tile(-256, -256, SHAPE[1] * 16 + 512, SHAPE[0] * 16 + 512))
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    found = model.tokens(pixels)[0, 16:-16, 16:-16].numpy()
    assert found.shape == SHAPE
    assert len(np.unique(found)) > 200
    return found


def by_blocks(model, read, block, halo=None):
    encoding = Encoding(SIZE, np.ones(SHAPE, bool), background=0)
    return encode(read, encoding, LocalEncoder(model, halo=halo), block).tokens


@pytest.mark.parametrize("block", [512, 1024, 2048])
def test_no_token_differs_between_blocks_and_the_whole(model, read, whole, block):
    assert model.architecture.halo == 224
    assert int((by_blocks(model, read, block) != whole).sum()) == 0


def test_with_a_halo_of_96_some_do(model, read, whole):
    assert int((by_blocks(model, read, 512, halo=96) != whole).sum()) > 0


def test_random_crops_are_slices_of_the_map(model, read, whole):
    random = np.random.default_rng(0)
    for _ in range(6):
        y, x = int(random.integers(SHAPE[0] - 12)), int(random.integers(SHAPE[1] - 16))
        rgb = read(Tile(y * 16 - 224, x * 16 - 224, 256 + 448, 192 + 448))
        found = model.tokens(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0, 14:-14, 14:-14]
        np.testing.assert_array_equal(found, whole[y : y + 12, x : x + 16])


def test_a_crop_encoded_at_its_own_statistics_is_no_slice(model, read, whole):
    """What published VQGANs do: why statistics are frozen."""
    rgb = read(Tile(480 - 224, 640 - 224, 512 + 448, 384 + 448))
    model.use(Statistics.NATIVE)
    found = model.tokens(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0, 14:-14, 14:-14]
    model.use(Statistics.FROZEN)
    assert (found.numpy() == whole[30 : 30 + 24, 40 : 40 + 32]).mean() < 0.5
