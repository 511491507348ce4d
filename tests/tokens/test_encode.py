import numpy as np
import pytest
import torch

from holohisto.config.training import TokensOptions
from holohisto.errors import HolohistoError
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.journal import Journal
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant, orient, restore, variants_of
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens import encode as encoding
from holohisto.tokens import encoders, quality
from holohisto.tokens.encode import cores
from holohisto.tokens.encoders import LocalEncoder, _pieces, background_token, encoder_for
from holohisto.tokens.needed import needed_tokens
from holohisto.tokens.token_map import (
    TokenMap,
    load_token_map,
    require_mode,
    require_slide,
    require_tokenizer,
    save_token_map,
    tile_tokens,
)

SIZE = (651, 395)  # not square, no multiple of 16
EVERYTHING = np.ones((25, 41), bool)


def make(**facts):
    torch.manual_seed(0)
    options = {
        "channels": 8,
        "multipliers": (1, 2, 2, 2, 2),
        "residual_blocks": 2,
        "codebook": 64,
        "dimension": 4,
    }
    made = VQGAN(Architecture(**(options | facts)))
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model():
    made = make()
    calibrate(made, [picture()[y : y + 160, :192] for y in (0, 110, 220)], 1e-3)
    pixels = torch.from_numpy(picture()[:256, :256]).permute(2, 0, 1)[None]
    latents = made.latents(made.pixels(pixels)).reshape(-1, 4)
    made.quantize.embedding.weight.copy_(latents[::4])
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


def encode(encoder, needed=EVERYTHING, core=256, variant=Variant(), **facts):  # noqa: B008
    return encoding.encode(
        facts.pop("read", reader(picture())),
        variant.size(SIZE),
        needed,
        encoder,
        63,
        core,
        variant,
        **facts,
    ).tokens


def whole_image(model, rgb, colour=(240, 240, 240)):
    """All tokens in one piece, by the model itself, the picture in a frame of background."""
    wide = np.empty((SIZE[1] + 5 + 512, SIZE[0] + 5 + 512, 3), np.uint8)
    wide[:] = colour
    wide[256 : 256 + SIZE[1], 256 : 256 + SIZE[0]] = rgb
    found = model.tokens(torch.from_numpy(wide[:912, :1168]).permute(2, 0, 1)[None])[0]
    return found[16 : 16 + 25, 16 : 16 + 41].numpy()


@pytest.mark.parametrize("core", [256, 512, 1024])
def test_tokens_by_parts_are_those_of_the_whole_image(model, core):
    whole = whole_image(model, picture())
    assert len(np.unique(whole)) > 20
    np.testing.assert_array_equal(encode(LocalEncoder(model), core=core), whole)


@pytest.mark.parametrize("halo", [64, 96])
def test_with_too_small_a_halo_they_are_not(model, halo):
    found = encode(LocalEncoder(model, halo=halo))
    assert (found == whole_image(model, picture())).mean() < 0.995


def test_one_pass_and_two_phases_have_the_same_latents(model):
    encoder = LocalEncoder(model)
    read = reader(picture())
    rgb = read(Tile(-encoder.context, -encoder.context, *[768 + 2 * encoder.context] * 2))
    two = encoder.latents(rgb, np.ones((48, 48), bool))
    inner = rgb[encoder.margin : -encoder.margin, encoder.margin : -encoder.margin]
    pixels = torch.from_numpy(np.ascontiguousarray(inner)).permute(2, 0, 1)[None]
    one = model.latents(model.pixels(pixels))[0, 14:-14, 14:-14]
    assert (two - one).abs().max() <= 1e-5 * one.abs().max()


def test_only_pieces_that_needed_tokens_depend_on_are_encoded(model, monkeypatch):
    needed = np.zeros((36, 36), bool)
    needed[:3, :3] = True
    encoder = LocalEncoder(model)
    side = 576 + 2 * encoder.context
    rgb = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    every = encoder.latents(rgb, np.ones_like(needed))[:3, :3]
    seen = []
    shallow = VQGAN.shallow

    def counting(self, x):
        seen.append(x.shape[0])
        return shallow(self, x)

    monkeypatch.setattr(VQGAN, "shallow", counting)
    torch.testing.assert_close(encoder.latents(rgb, needed)[:3, :3], every, rtol=0, atol=0)
    assert sum(seen) == 1 < len(_pieces((576 + 448, 576 + 448), 16)[1]) == 4


def test_tokens_do_not_depend_on_threads_or_on_how_many_pieces_go_at_once(model, monkeypatch):
    encoder = LocalEncoder(model)
    alone = encode(encoder, core=1024)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(encode(encoder, core=1024), alone)
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(encoders, "_batches", lambda corners, device: [corners[:3], corners[3:]])
    np.testing.assert_array_equal(encode(encoder, core=1024), alone)


def test_a_crop_is_a_slice_of_the_map(model):
    whole = encode(LocalEncoder(model), core=1024)
    read = reader(picture())
    random = np.random.default_rng(1)
    for _ in range(5):
        y, x = (16 * int(random.integers(length - 6)) for length in whole.shape)
        crop = read(Tile(y - 224, x - 224, 96 + 448, 80 + 448))
        found = model.tokens(torch.from_numpy(crop).permute(2, 0, 1)[None])[0, 14:19, 14:20]
        part = whole[y // 16 : y // 16 + 5, x // 16 : x // 16 + 6]
        np.testing.assert_array_equal(found[: part.shape[0], : part.shape[1]], part)


@pytest.mark.parametrize("orientation", [1, 2, 4, 7])
def test_a_turned_crop_is_a_turned_slice_of_its_variant(model, orientation):
    look = Appearance.draw(Strength(0.3, 0.1, 1.0), np.random.default_rng(0))
    variant = Variant(orientation, 1.0, look)
    encoder = LocalEncoder(model)
    as_it_is, found = encode(encoder, core=512), encode(encoder, variant=variant)
    assert (as_it_is != found).mean() > 0.5
    crop = variant.read(reader(picture()), Tile(160 - 224, 320 - 224, 128 + 448, 96 + 448))
    seen = np.ascontiguousarray(orient(crop, orientation))
    alone = model.tokens(torch.from_numpy(seen).permute(2, 0, 1)[None])[0, 14:-14, 14:-14]
    np.testing.assert_array_equal(alone, orient(found[10:16, 20:28], orientation))
    turned_tokens = orient(as_it_is[10:16, 20:28], orientation)
    assert (alone.numpy() != turned_tokens).any()


def test_a_scaled_slide_is_one_picture_too(model):
    variant = Variant(3, 0.8)
    needed = np.ones((20, 33), bool)
    found = encode(LocalEncoder(model), needed, variant=variant)
    assert found.shape == (20, 33)
    crop = variant.read(reader(picture()), Tile(160 - 224, 320 - 224, 128 + 448, 96 + 448))
    seen = np.ascontiguousarray(orient(crop, 3))
    alone = model.tokens(torch.from_numpy(seen).permute(2, 0, 1)[None])[0, 14:-14, 14:-14]
    np.testing.assert_array_equal(alone, orient(found[10:16, 20:28], 3))


def test_only_what_is_needed_is_read_and_the_rest_is_background(model):
    needed = np.zeros((25, 41), bool)
    needed[3:5, 29:32] = True
    seen = []
    read = reader(picture())

    def counting(tile):
        seen.append(tile)
        return read(tile)

    encoder = LocalEncoder(model)
    found = encode(encoder, needed, read=counting)
    assert seen == [Tile(-240, 448 - 240, 224 + 480, 208 + 480)]
    assert (found[~needed] == 63).all()
    whole = encode(encoder, core=1024)
    np.testing.assert_array_equal(found[needed], whole[needed])


@pytest.mark.parametrize(
    ("size", "core", "unit", "expected"),
    [
        ((1003, 771), 1024, 16, [(0, 0, 1008, 784)]),
        ((1003, 771), 256, 256, [(y, x, 256, 512) for y in (0, 512) for x in (0, 256, 512, 768)]),
        ((4119, 2500), 2048, 16, [(0, 0, 2064, 2512), (0, 2064, 2064, 2512)]),
        ((640, 516), 2048, 16, [(0, 0, 640, 528)]),
    ],
)
def test_cores_are_equal_parts_without_a_narrow_rest(size, core, unit, expected):
    found = [(t.y, t.x, t.width, t.height) for t in cores(size, core, unit)]
    assert found == expected


def test_a_journal_is_taken_up_where_it_ends(model, tmp_path):
    whole = encode(LocalEncoder(model))
    read, calls = reader(picture()), []

    def failing(tile):
        calls.append(tile)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return read(tile)

    encoder = LocalEncoder(model)
    with Journal(tmp_path / "j", "a") as journal:
        encode(encoder, variant=Variant(1), journal=journal, number=0)
        with pytest.raises(KeyboardInterrupt):
            encode(encoder, journal=journal, number=1, read=failing)
    encoded = []

    class Counting(LocalEncoder):
        def __call__(self, rgb, needed):
            encoded.append(rgb.shape)
            return super().__call__(rgb, needed)

    with Journal(tmp_path / "j", "a") as journal:
        again = encode(Counting(model), journal=journal, number=1)
    np.testing.assert_array_equal(again, whole)
    assert len(encoded) == 2  # of six cores


@pytest.mark.parametrize("f", [8, 16, 32])
def test_needed_tokens_widen_the_foreground_by_two_cells(f):
    foreground = np.zeros((49, 63), bool)
    foreground[10, 20] = True
    needed = needed_tokens(foreground, 16, (1003, 771), f)
    assert needed.shape == (ceil_div(771, f), ceil_div(1003, f))
    rows, columns = np.nonzero(needed)
    assert rows.min() * f <= 8 * 16 < (rows.min() + 1) * f
    assert rows.max() * f < 13 * 16 <= (rows.max() + 1) * f
    assert columns.min() * f <= 18 * 16 < (columns.min() + 1) * f
    assert columns.max() * f < 23 * 16 <= (columns.max() + 1) * f


@pytest.mark.parametrize("colour", [0, 240])
def test_background_token_is_what_a_plane_of_the_colour_encodes_to(model, colour):
    plane = torch.full((1, 3, 480, 480), colour, dtype=torch.uint8)
    plain = np.full((1, 1, 3), colour, np.uint8)
    found = background_token(LocalEncoder(model), plain)
    assert found == int(model.tokens(plane)[0, 15, 15])


def test_black_and_white_surrounds_have_tokens_of_their_own(model):
    """Far from the tissue an encoded surround is what is filled in where nothing is encoded."""
    encoder = LocalEncoder(model)
    for colour in (0, 255):
        rgb = np.full((SIZE[1], SIZE[0], 3), colour, np.uint8)
        rgb[:100, :100] = picture()[:100, :100]
        found = encode(encoder, read=reader(rgb, (colour,) * 3))
        assert (found[22:, 22:] == background_token(encoder, rgb[-1, -1])).all()


def attentive():
    made = make(attention=(4,), middle_attention=True, norm_groups=4, scored=True)
    made.quantize.proj.weight.normal_()
    return made


def test_windows_are_encoded_by_themselves_at_their_own_statistics():
    made = attentive()
    encoder = encoder_for(made, "window")
    found = encode(encoder)
    assert len(np.unique(found)) > 5
    rgb = reader(picture())(Tile(256, 256, 256, 256))
    made.freeze(False)
    alone = made.tokens(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0]
    np.testing.assert_array_equal(found[16:25, 16:32], alone[:9])
    np.testing.assert_array_equal(encode(encoder, core=1024), found)
    turned = encode(encoder, variant=Variant(6), core=512)
    seen = np.ascontiguousarray(orient(rgb, 6))
    alone = made.tokens(torch.from_numpy(seen).permute(2, 0, 1)[None])[0]
    np.testing.assert_array_equal(turned[16:25, 16:32], restore(alone.numpy(), 6)[:9])


def test_a_tokenizer_with_attention_cannot_be_frozen():
    with pytest.raises(HolohistoError, match=r"tokens.mode.*attention.*allowed window, online"):
        encoder_for(attentive(), "frozen")


def test_bf16_agrees_with_fp32_mostly_and_says_how_much(model):
    exact = encode(LocalEncoder(model), core=1024)
    encoder = LocalEncoder(model, bf16=True)
    rounded = encode(encoder, core=1024)
    assert 0.5 < (exact == rounded).mean() < 1
    found, _ = quality.judge(reader(picture()), rounded, EVERYTHING, encoder, bf16=True)
    assert found.precision_agreement == pytest.approx((exact == rounded).mean(), abs=0.1)


def test_quality_is_that_of_what_the_map_brings_back(model):
    encoder = LocalEncoder(model)
    found = encode(encoder, core=1024)
    facts, shown = quality.judge(reader(picture()), found, EVERYTHING, encoder, bf16=False)
    assert shown.shape == (768, 4 * 384, 3)
    y, x = (
        min(max(0, middle - 12), n - 24)
        for middle, n in zip(divmod(25 * 41 // 8, 41), (25, 41), strict=True)
    )
    np.testing.assert_array_equal(
        shown[:384, :384], picture()[y * 16 : y * 16 + 384, x * 16 : x * 16 + 384]
    )
    back = model.picture(torch.from_numpy(found[y : y + 24, x : x + 24].astype(int))[None])[0]
    np.testing.assert_array_equal(shown[384:, :384], back.permute(1, 2, 0))
    errors = (shown[:384].astype(float) - shown[384:]) ** 2
    each = [10 * np.log10(255**2 / part.mean()) for part in np.split(errors, 4, axis=1)]
    assert facts.psnr == pytest.approx(np.mean(each))
    assert 0 < facts.ssim < 1
    assert 0 < facts.native_agreement < 1
    assert facts.precision_agreement is None
    assert (facts.tokens, facts.codebook) == (25 * 41, 64)
    assert facts.codes_used == len(np.unique(found))
    assert all(norm.frozen for norm in model.norms)


def test_quality_of_a_slide_without_tissue(model):
    nothing = np.zeros((25, 41), bool)
    found = np.zeros((25, 41), np.uint16)
    encoder = LocalEncoder(model)
    facts, shown = quality.judge(reader(picture()), found, nothing, encoder, bf16=True)
    assert (facts.tokens, facts.codes_used, facts.psnr, facts.perplexity) == (0, 0, None, None)
    assert shown.ndim == 3


def test_usage_counts_codes_and_perplexity():
    used, perplexity = quality.usage(np.array([[1, 1, 2, 2], [3, 3, 4, 4]]), 10)
    assert used == 4
    assert perplexity == pytest.approx(4.0)


def token_map(values, **facts):
    given = {
        "slide": "s",
        "fingerprint": "p",
        "tokenizer": "digest",
        "downscale": 16,
        "backgrounds": tuple(range(99, 99 + len(values))),
        "options": TokensOptions(appearances=3),
    }
    return TokenMap(list(values), **(given | facts))


def test_tile_tokens_are_a_slice_of_a_variant_padded_with_its_background():
    values = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    found = tile_tokens(token_map(values), Tile(16, 32, 64, 48))
    np.testing.assert_array_equal(found, [[6, 7, 99, 99], [10, 11, 99, 99], [99] * 4])
    found = tile_tokens(token_map(values), Tile(16, 32, 64, 48), variant=1)
    np.testing.assert_array_equal(found, [[18, 19, 100, 100], [22, 23, 100, 100], [100] * 4])


def test_file_keeps_everything_and_another_tokenizer_or_mode_is_refused(tmp_path):
    values = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    path = tmp_path / "a.safetensors"
    saved = token_map([values[0], np.ascontiguousarray(values[1, :, :3])])  # scaled: narrower
    save_token_map(saved, path)
    found = load_token_map(path)
    np.testing.assert_array_equal(found.tokens[0], values[0])
    np.testing.assert_array_equal(found.tokens[1], values[1, :, :3])
    assert (found.slide, found.fingerprint, found.tokenizer) == ("s", "p", "digest")
    assert (found.downscale, found.backgrounds) == (16, (99, 100))
    assert found.variants == variants_of(TokensOptions(appearances=3), "p")[:2]
    require_tokenizer(found, "digest", path)
    with pytest.raises(HolohistoError, match="another tokenizer"):
        require_tokenizer(found, "other", path)
    require_mode(found, "frozen", path)
    with pytest.raises(HolohistoError, match="another mode"):
        require_mode(found, "window", path)


def test_a_token_map_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_token_map(token_map(np.zeros((1, 30, 40), np.uint16)), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HolohistoError, match="cannot be read"):
        load_token_map(path)


def test_tokens_of_another_slide_are_refused(tmp_path):
    of_another = token_map(np.zeros((1, 2, 2), np.uint16), slide="b")
    require_slide(of_another, "p", "b", tmp_path)
    with pytest.raises(HolohistoError, match="present content of slide a"):
        require_slide(of_another, "other", "a", tmp_path)
