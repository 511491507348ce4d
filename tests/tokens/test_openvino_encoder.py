"""The encoder by OpenVINO: torch is the reference."""

import numpy as np
import pytest
import torch
from encoded_picture import EVERYTHING, SIZE, encode, frozen_tokenizer, picture, tokenizer

from holohisto.runtime import processor
from holohisto.tokens import openvino_encoder
from holohisto.tokens.encoders import LocalEncoder, WindowEncoder, encoder_for
from holohisto.tokens.openvino_encoder import OpenvinoEncoder

SCALAR = {"codebook": 64, "dimension": 3, "levels": (4, 4, 4)}
TILES = ([picture()[:160, :192]], [picture()[200:360, 300:492] // 2, picture()[50:210, 60:252]])


@pytest.fixture(autouse=True)
def _any_block(monkeypatch):
    monkeypatch.setattr(openvino_encoder, "SMALL", 0)


def differing(found: np.ndarray, expected: np.ndarray) -> float:
    assert len(np.unique(expected)) > 10
    return (found != expected).mean()


MODELS = {
    "nearest code": frozen_tokenizer,
    "scalar codes": lambda: tokenizer(**SCALAR),
    "scalar codes, f = 8": lambda: tokenizer(**SCALAR, multipliers=(1, 2, 2, 2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_those_of_torch_at_the_statistics_of_every_slide(name):
    model = MODELS[name]().to(memory_format=torch.channels_last)
    encoder, reference = OpenvinoEncoder(model), LocalEncoder(model)
    f = model.architecture.downscale
    needed = np.ones([-(-side // f) for side in SIZE[::-1]], bool)
    found = []
    for tiles in TILES:
        encoder.adapt(tiles)
        found.append(encode(encoder, needed))
        assert differing(found[-1], encode(reference, needed)) < 2e-3  # ties but for rounding
    assert differing(*found) > 0.01


def test_latents_are_those_of_torch_but_for_rounding():
    model = frozen_tokenizer()
    encoder, reference = OpenvinoEncoder(model), LocalEncoder(model)
    side = 256 + 2 * encoder.context
    rgb = np.random.default_rng(0).integers(0, 256, (side, side + 64, 3), dtype=np.uint8)
    for tiles in TILES:
        encoder.adapt(tiles)
        pair = [each.latents(rgb, np.ones((16, 20), bool)) for each in (encoder, reference)]
        assert (pair[0] - pair[1]).abs().max() < 1e-4 * pair[1].std()


def test_a_conversion_leaves_the_statistics_as_they_were():
    model = frozen_tokenizer()
    before = [(norm.mean.clone(), norm.variance.clone()) for norm in model.norms]
    names = [name for name, _ in model.named_buffers()]
    encode(OpenvinoEncoder(model))
    assert [name for name, _ in model.named_buffers()] == names
    for norm, (mean, variance) in zip(model.norms, before, strict=True):
        assert torch.equal(norm.mean, mean)
        assert torch.equal(norm.variance, variance)


def test_networks_are_converted_once_for_all_slides(monkeypatch):
    made, network_of = [], openvino_encoder.network_of
    monkeypatch.setattr(
        openvino_encoder, "network_of", lambda *words: made.append(1) or network_of(*words)
    )
    encoder = OpenvinoEncoder(frozen_tokenizer())
    for tiles in TILES:
        encoder.adapt(tiles)
        encode(encoder)
    assert len(made) == 2  # one for each phase


def test_neither_blocks_nor_threads_alter_a_token(monkeypatch):
    model = frozen_tokenizer()
    whole = encode(OpenvinoEncoder(model), block=1024)
    assert differing(encode(LocalEncoder(model)), whole) < 2e-3
    for block in (256, 512):
        assert differing(encode(OpenvinoEncoder(model), block=block), whole) < 2e-3
    compiled = processor.CompiledNetwork
    for threads in (1, 3):
        monkeypatch.setattr(
            openvino_encoder,
            "CompiledNetwork",
            lambda *words, n=threads, **facts: compiled(*words, **facts | {"threads": n}),
        )
        assert np.array_equal(encode(OpenvinoEncoder(model), block=1024), whole)


def test_a_small_block_is_computed_by_torch(monkeypatch):
    monkeypatch.setattr(openvino_encoder, "SMALL", 10**9)
    monkeypatch.setattr(openvino_encoder, "network_of", None)
    model = frozen_tokenizer()
    assert np.array_equal(encode(OpenvinoEncoder(model)), encode(LocalEncoder(model), EVERYTHING))


def test_a_cpu_encodes_mode_frozen_by_openvino_as_far_as_it_has_the_precision(monkeypatch):
    for precision in ("fp32", "bf16"):
        monkeypatch.setattr(processor, "has_bf16", lambda: True)
        encoder = encoder_for(frozen_tokenizer(), "frozen", precision)
        assert (type(encoder), encoder.precision) == (OpenvinoEncoder, precision)
    monkeypatch.setattr(processor, "has_bf16", lambda: False)
    assert type(encoder_for(frozen_tokenizer(), "frozen")) is OpenvinoEncoder
    assert type(encoder_for(frozen_tokenizer(), "frozen", "bf16")) is LocalEncoder
    assert type(encoder_for(frozen_tokenizer(), "window")) is WindowEncoder


@pytest.mark.skipif(not processor.has_bf16(), reason="needs a processor with bf16")
def test_bf16_rounds_as_torch_does_and_blocks_alter_no_token():
    model = frozen_tokenizer()
    encoder = OpenvinoEncoder(model, None, "bf16")
    rgb = np.random.default_rng(0).integers(0, 256, (256 + 2 * encoder.context,) * 2 + (3,), "u1")
    needed = np.ones((16, 16), bool)
    exact, rounded, found = (
        each.latents(rgb, needed)
        for each in (LocalEncoder(model), LocalEncoder(model, "bf16"), encoder)
    )
    error, reference = ((each.float() - exact).std() / exact.std() for each in (found, rounded))
    assert 0 < error < 1.5 * reference
    whole = encode(encoder, block=1024)
    assert 0 < differing(whole, encode(LocalEncoder(model))) < 0.3
    for block in (256, 512):
        assert differing(encode(OpenvinoEncoder(model, None, "bf16"), block=block), whole) < 2e-2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_square_alone_has_the_tokens_of_the_tokenizer_at_these_statistics(precision):
    if precision == "bf16" and not processor.has_bf16():
        pytest.skip("needs a processor with bf16")
    model, square = frozen_tokenizer(), picture()[:256, :240]
    encoder = OpenvinoEncoder(model, None, precision)
    encoder.adapt(TILES[0])
    encode(encoder)  # so that squares are encoded by OpenVINO
    exact = model.tokens(torch.from_numpy(square).permute(2, 0, 1)[None])[0].numpy()
    assert differing(encoder.alone(square), exact) < (2e-3 if precision == "fp32" else 0.3)
    assert (differing(encoder.alone(square), exact) > 0) == (precision == "bf16")
