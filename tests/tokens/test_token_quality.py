"""Facts about the tokens of a slide."""

import numpy as np
import pytest
import torch
from encoded_picture import picture, slide_encoder

from holohisto.config.augmentation import ColourAugmentation
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.variants import Variant
from holohisto.tokenizer.norm import Statistics
from holohisto.tokens import quality
from holohisto.tokens.encoders import LocalEncoder
from holohisto.tokens.needed import tissue_squares

EVERYTHING = np.ones((25, 41), bool)


@pytest.fixture(scope="module")
def encoder():
    return slide_encoder(block=1024)


@pytest.fixture(scope="module")
def found(encoder):
    return encoder.encode().encoded.tokens


@pytest.fixture(scope="module")
def judged(encoder, found):
    return quality.judge(encoder, found)


def squares():
    return tissue_squares(EVERYTHING, 16, 4, 256)


def alone(model, rgb):
    return model.tokens(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0].numpy()


def test_bf16_agrees_with_fp32_mostly_and_reports_how_much(encoder, found):
    rounded = slide_encoder(block=1024)
    rounded.encoder = LocalEncoder(rounded.encoder.model, "bf16")
    tokens = rounded.encode().encoded.tokens
    assert 0.5 < (found == tokens).mean() < 1
    facts, _ = quality.judge(rounded, tokens)
    assert facts.precision_agreement == pytest.approx((found == tokens).mean(), abs=0.1)


def test_quality_is_that_of_what_the_map_brings_back(encoder, found, judged):
    facts, shown = judged
    model = encoder.encoder.model
    assert shown.shape == (512, 4 * 256, 3)
    y, x = (
        min(max(0, middle - 8), n - 16)
        for middle, n in zip(divmod(25 * 41 // 8, 41), (25, 41), strict=True)
    )
    inside = np.s_[: min(256, 395 - 16 * y)]  # the last row of tokens reaches beyond the slide
    np.testing.assert_array_equal(
        shown[:256, :256][inside], picture()[y * 16 : y * 16 + 256, x * 16 : x * 16 + 256]
    )
    back = model.picture(torch.from_numpy(found[y : y + 16, x : x + 16].astype(int))[None])[0]
    np.testing.assert_array_equal(shown[256:, :256], back.permute(1, 2, 0))
    errors = (shown[:256].astype(float) - shown[256:]) ** 2
    each = [10 * np.log10(255**2 / part.mean()) for part in np.split(errors, 4, axis=1)]
    assert facts.psnr == pytest.approx(np.mean(each))
    assert 0 < facts.ssim < 1
    assert facts.precision_agreement is None
    assert (facts.tokens, facts.codebook, facts.dimension) == (25 * 41, 64, 3)
    assert facts.codes_used == len(np.unique(found))


def test_effective_rank_is_that_of_the_codes_of_the_tissue(encoder, found, judged):
    codes = encoder.encoder.model.quantize.codes.numpy()[found.ravel()]
    share = np.linalg.eigvalsh(np.cov(codes.T))
    share /= share.sum()
    expected = np.exp(-(share * np.log(share)).sum())
    assert judged[0].effective_rank == pytest.approx(expected)
    assert 1 < expected < 3


def test_native_agreement_is_with_squares_at_their_own_statistics(encoder, found, judged):
    model = encoder.encoder.model
    model.use(Statistics.NATIVE)
    same = [
        alone(model, encoder.read(Variant(), square))
        == found[square.y // 16 :, square.x // 16 :][:16, :16]
        for square in squares()
    ]
    assert judged[0].native_agreement == pytest.approx(np.mean(same))
    assert 0 < np.mean(same) < 1


def test_kept_is_the_share_of_tokens_that_other_appearances_leave(encoder, judged):
    model, strength = encoder.encoder.model, Strength.of(ColourAugmentation())
    same = []
    for seed, square in enumerate(squares()):
        appearance = Appearance.draw(strength, np.random.default_rng(seed))
        pair = []
        for variant in (Variant(), Variant(appearance=appearance)):
            encoder.adapt(variant, 2)
            pair.append(alone(model, encoder.read(variant, square)))
        same.append(pair[0] == pair[1])
    expected = np.mean(same)
    assert judged[0].kept == pytest.approx(expected)
    assert 0 < expected < 1


def test_in_windows_native_agreement_is_not_measured():
    encoder = slide_encoder(mode="window")
    facts, _ = quality.judge(encoder, encoder.encode().encoded.tokens)
    assert facts.native_agreement is None
    assert 0 <= facts.kept < 1


def test_quality_of_a_slide_without_tissue():
    encoder = slide_encoder()
    encoder.encoder.precision = "bf16"
    encoder.tissue.foreground.mask[:] = False
    facts, shown = quality.judge(encoder, np.zeros((25, 41), np.uint16))
    assert (facts.tokens, facts.codes_used, facts.psnr, facts.perplexity) == (0, 0, None, None)
    assert (facts.effective_rank, facts.kept, facts.native_agreement) == (None, None, None)
    assert facts.precision_agreement is None
    assert shown.ndim == 3


def test_usage_counts_codes_and_perplexity():
    used, perplexity = quality.usage(np.array([[1, 1, 2, 2], [3, 3, 4, 4]]), 10)
    assert used == 4
    assert perplexity == pytest.approx(4.0)
