"""Facts about the tokens of a slide."""

import numpy as np
import pytest
import torch
from encoded_picture import EVERYTHING, encode, frozen_tokenizer, picture, reader

from holohisto.tokens import quality
from holohisto.tokens.encoders import LocalEncoder


@pytest.fixture(scope="module")
def model():
    return frozen_tokenizer()


def test_bf16_agrees_with_fp32_mostly_and_reports_how_much(model):
    exact = encode(LocalEncoder(model), block=1024)
    encoder = LocalEncoder(model, bf16=True)
    rounded = encode(encoder, block=1024)
    assert 0.5 < (exact == rounded).mean() < 1
    found, _ = quality.judge(reader(picture()), rounded, EVERYTHING, encoder, bf16=True)
    assert found.precision_agreement == pytest.approx((exact == rounded).mean(), abs=0.1)


def test_quality_is_that_of_what_the_map_brings_back(model):
    encoder = LocalEncoder(model)
    found = encode(encoder, block=1024)
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
