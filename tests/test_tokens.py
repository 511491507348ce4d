import numpy as np
import pytest
import torch

from holohisto import calibration, tokens, vqgan
from holohisto.config import TokensOptions
from holohisto.errors import HolohistoError
from holohisto.grid import Tile

SIZE = (1003, 771)  # not square, no multiple of 16


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = vqgan.VQGAN(
        vqgan.Architecture(
            channels=8, multipliers=(1, 2, 2, 2, 2), residual_blocks=1, codebook=64, dimension=4
        )
    )
    made.eval().requires_grad_(False)
    calibration.calibrate(made, [picture()[y : y + 160, :192] for y in (0, 200, 400)], 1e-3)
    pixels = torch.from_numpy(picture()[:256, :256]).permute(2, 0, 1)[None]
    made.quantize.embedding.weight.copy_(made.latents(made.pixels(pixels)).reshape(-1, 4)[::4])
    return made


def picture():
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (SIZE[1] // 6 + 1, SIZE[0] // 6 + 1, 3), dtype=np.uint8)
    return np.kron(small, np.ones((6, 6, 1), np.uint8))[: SIZE[1], : SIZE[0]]


def reader(rgb, colour=(240, 240, 240)):
    def read(tile):
        out = np.empty((tile.height, tile.width, 3), np.uint8)
        out[:] = colour
        y0, x0 = max(tile.y, 0), max(tile.x, 0)
        y1, x1 = min(tile.y + tile.height, SIZE[1]), min(tile.x + tile.width, SIZE[0])
        if y1 > y0 and x1 > x0:
            out[y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x] = rgb[y0:y1, x0:x1]
        return out

    return read


def encode(model, needed, **options):
    return tokens.encode(reader(picture()), SIZE, needed, model, 63, TokensOptions(**options))


def test_tokens_do_not_depend_on_the_tiling(model):
    everything = np.ones((49, 63), bool)
    small, large = (encode(model, everything, core=core) for core in (256, 1024))
    assert (small == large).mean() == 1.0
    assert len(np.unique(small)) > 20


def test_with_too_small_a_halo_they_do(model):
    everything = np.ones((49, 63), bool)
    small, large = (encode(model, everything, core=core, halo=32) for core in (256, 1024))
    assert (small == large).mean() < 0.999


def test_a_crop_is_a_slice_of_the_map(model):
    everything = np.ones((49, 63), bool)
    whole = encode(model, everything)
    crop = reader(picture())(Tile(160 - 224, 320 - 224, 128 + 448, 96 + 448))
    found = model.tokens(torch.from_numpy(crop).permute(2, 0, 1)[None])[0, 14:20, 14:22]
    np.testing.assert_array_equal(found, whole[10:16, 20:28])


def test_only_what_is_needed_is_read_and_the_rest_is_background(model):
    needed = np.zeros((49, 63), bool)
    needed[3:5, 40:44] = True
    seen = []
    read = reader(picture())

    def counting(tile):
        seen.append(tile)
        return read(tile)

    found = tokens.encode(counting, SIZE, needed, model, 63, TokensOptions(core=256))
    assert [(t.x, t.y) for t in seen] == [(512 - 224, -224)]
    assert (found[~needed] == 63).all()
    whole = encode(model, np.ones((49, 63), bool))
    np.testing.assert_array_equal(found[needed], whole[needed])


@pytest.mark.parametrize("f", [8, 16, 32])
def test_needed_tokens_widen_the_foreground_by_two_cells(f):
    foreground = np.zeros((49, 63), bool)
    foreground[10, 20] = True
    needed = tokens.needed_tokens(foreground, 16, SIZE, f)
    assert needed.shape == (-(-771 // f), -(-1003 // f))
    rows, columns = np.nonzero(needed)
    assert rows.min() * f <= 8 * 16 < (rows.min() + 1) * f
    assert rows.max() * f < 13 * 16 <= (rows.max() + 1) * f
    assert columns.min() * f <= 18 * 16 < (columns.min() + 1) * f
    assert columns.max() * f < 23 * 16 <= (columns.max() + 1) * f


def test_background_token_is_what_a_plane_of_the_colour_encodes_to(model):
    found = {c: tokens.background_token(model, (c, c, c), 224) for c in (0, 240)}
    plane = torch.full((1, 3, 480, 480), 240, dtype=torch.uint8)
    assert found[240] == int(model.tokens(plane)[0, 15, 15])
    assert found[0] == int(model.tokens(torch.zeros_like(plane))[0, 15, 15])


def test_usage_counts_codes_and_perplexity():
    used, perplexity = tokens.usage(np.array([[1, 1, 2, 2], [3, 3, 4, 4]]), 10)
    assert used == 4
    assert perplexity == pytest.approx(4.0)


def test_tile_tokens_are_a_slice_padded_with_background():
    values = np.arange(12, dtype=np.uint16).reshape(1, 3, 4)
    token_map = tokens.TokenMap(values, "s", "p", "t", 16, 99)
    found = tokens.tile_tokens(token_map, Tile(16, 32, 64, 48))
    np.testing.assert_array_equal(found, [[6, 7, 99, 99], [10, 11, 99, 99], [99] * 4])


def test_file_keeps_everything_and_another_tokenizer_is_refused(tmp_path):
    values = np.arange(12, dtype=np.uint16).reshape(1, 3, 4)
    path = tmp_path / "a.safetensors"
    tokens.save(tokens.TokenMap(values, "s", "p", "digest", 16, 5), path, TokensOptions())
    found = tokens.load(path)
    np.testing.assert_array_equal(found.tokens, values)
    assert (found.slide, found.fingerprint, found.tokenizer) == ("s", "p", "digest")
    assert (found.downscale, found.background) == (16, 5)
    tokens.require_tokenizer(found, "digest", path)
    with pytest.raises(HolohistoError, match="another tokenizer"):
        tokens.require_tokenizer(found, "other", path)


def test_a_token_map_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    token_map = tokens.TokenMap(np.zeros((1, 30, 40), np.uint16), "s", "p", "d", 16, 5)
    tokens.save(token_map, path, TokensOptions())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HolohistoError, match="cannot be read"):
        tokens.load(path)


def test_a_halo_below_the_encoders_reach_is_refused(model):
    tokens.require_halo(model.architecture, TokensOptions())
    with pytest.raises(HolohistoError, match=r"tokens.halo.*found 128.*at least 158"):
        tokens.require_halo(model.architecture, TokensOptions(halo=128))


def test_tokens_of_another_slide_are_refused(tmp_path):
    token_map = tokens.TokenMap(np.zeros((1, 2, 2), np.uint16), "b", "p", "d", 16, 5)
    tokens.require_slide(token_map, "p", "b", tmp_path)
    with pytest.raises(HolohistoError, match="present content of slide a"):
        tokens.require_slide(token_map, "other", "a", tmp_path)
