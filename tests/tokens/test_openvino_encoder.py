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


def test_a_cpu_encodes_fp32_by_openvino_and_the_rest_by_torch():
    assert type(encoder_for(frozen_tokenizer(), "frozen")) is OpenvinoEncoder
    assert type(encoder_for(frozen_tokenizer(), "frozen", "bf16")) is LocalEncoder
    assert type(encoder_for(frozen_tokenizer(), "window")) is WindowEncoder
