"""Precision of the encoder: bf16 where it is asked for, or on a GPU; recorded with the tokens."""

import pytest
import torch
from encoded_picture import EVERYTHING, SIZE, encode, frozen_tokenizer, picture, reader
from torch.nn import functional

from holohisto.config.training import TokensOptions
from holohisto.device import encoding_in, resolve_precision
from holohisto.foreground.map import Foreground
from holohisto.slide.scale import Scale
from holohisto.tokens.encoders import encoder_for
from holohisto.tokens.quality import judge
from holohisto.tokens.slide_encoder import SlideEncoder
from holohisto.tokens.slide_tokens import facts_of, token_map_of


@pytest.mark.parametrize(
    ("wanted", "device", "expected"),
    [
        ("auto", "cpu", "fp32"),
        ("auto", "cuda", "bf16"),
        ("bf16", "cpu", "bf16"),
        ("fp32", "cuda", "fp32"),
    ],
)
def test_bf16_is_used_where_it_is_asked_for_or_on_a_gpu(wanted, device, expected):
    assert resolve_precision(wanted, torch.device(device)) == expected


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
@pytest.mark.parametrize("surrounding", [False, True])
def test_arithmetic_is_in_the_given_precision_whatever_surrounds_it(precision, dtype, surrounding):
    cpu, weights = torch.device("cpu"), torch.eye(4)
    with torch.autocast("cpu", torch.bfloat16, enabled=surrounding):
        with encoding_in(precision, cpu):
            assert functional.linear(torch.ones(1, 4), weights).dtype == dtype
        after = functional.linear(torch.ones(1, 4), weights).dtype
    assert after == (torch.bfloat16 if surrounding else torch.float32)


class Record:
    slide, fingerprint, working_size, scale = "s", "p", SIZE, Scale.whole(1)


class PictureTissue:
    foreground = Foreground(EVERYTHING, 16, 0.0)
    read = staticmethod(reader(picture()))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_map_and_facts_record_the_precision_that_was_computed_in(precision):
    options = TokensOptions().single_variant
    encoder = encoder_for(frozen_tokenizer(), "frozen", precision)
    slide_encoder = SlideEncoder(PictureTissue(), SIZE, encoder, options)
    encoded = [slide_encoder.encode()]
    token_map = token_map_of(Record(), encoder, encoded, options)
    assert (token_map.precision, token_map.options.precision) == (precision, "auto")
    quality, _ = judge(slide_encoder, token_map.tokens[0])
    facts = facts_of(Record(), token_map, encoded, quality, (2, 0, 1))
    assert (facts["precision"], facts["colour_order"]) == (precision, "brg")
    assert (quality.precision_agreement is not None) == (precision == "bf16")


def test_the_two_precisions_give_different_tokens():
    """Otherwise nothing would have to be compared."""
    model = frozen_tokenizer()
    exact, rounded = (encode(encoder_for(model, "frozen", p)) for p in ("fp32", "bf16"))
    assert 0.5 < (exact == rounded).mean() < 1
