"""Segmenters on the CPU by OpenVINO: torch is the reference."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from baseline_networks import TOYS

from holohisto.config.models import ColourThresholdModel, HolohistoModel
from holohisto.infer.openvino_engine import OpenvinoPredictor
from holohisto.infer.predictor import TileInputs
from holohisto.runtime.processor import CompiledNetwork, has_bf16, read_network
from holohisto.segmenter.convert import convert
from holohisto.segmenter.file import build_segmenter

MODELS = {
    "rgb": HolohistoModel(size="T"),
    "tokens": HolohistoModel(size="T", decoder="tokens"),
    "linear": HolohistoModel(size="T", embedding="linear"),
    "linear tokens": HolohistoModel(size="T", embedding="linear", decoder="tokens"),
    "softmax": HolohistoModel(size="T", attention="softmax"),
    "colour_threshold": ColourThresholdModel(),
    **TOYS,
}


def built(options):
    torch.manual_seed(0)
    model = build_segmenter(options, torch.randn(64, 8), 16, 2)
    for layer in model.modules():  # statistics that differ from those a norm starts with
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return model.eval().requires_grad_(False)


def inputs(height, width):
    random = np.random.default_rng(height)
    tokens = random.integers(0, 64, (1, height // 16, width // 16))
    tokens[0, 1, 1] = -1
    return tokens, random.integers(0, 256, (1, height, width, 3), dtype=np.uint8)


@torch.no_grad()
def by_torch(model, tokens, rgb):
    height, width = rgb.shape[1:3]
    pixels = torch.from_numpy(rgb).permute(0, 3, 1, 2)
    return model(torch.from_numpy(tokens), pixels, (height, width)).sigmoid().numpy()


def by_openvino(converted, tokens, rgb, **settings):
    wide = converted.sides.widened(rgb)
    given = {"tokens": tokens} if converted.needs_tokens else {}
    given |= {"rgb": wide} if converted.needs_pixels else {}
    shapes = {name: array.shape for name, array in given.items()}
    network = CompiledNetwork(read_network(converted.xml, converted.weights), shapes, **settings)
    return network(given)[..., : rgb.shape[1], : rgb.shape[2]]


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_are_those_of_torch_for_tiles_of_any_size(name):
    model = built(MODELS[name])
    fixed = model.sides.fixed is not None
    for height, width in [(64, 96), (48, 80)] if fixed else [(336, 208), (176, 432)]:
        tokens, rgb = inputs(height, width)
        only = (width, height) if name == "swinunetr_v2" else None
        found = by_openvino(convert(model, only), tokens, rgb)
        expected = by_torch(model, tokens, rgb)
        assert found.shape == (1, 2, height, width)
        assert np.abs(found - expected).max() < 5e-4 * np.ptp(expected), (height, width)


@pytest.mark.parametrize("name", ["rgb", "unet", "segformer"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tiles_side_by_side_alter_no_bit(name, precision):
    if precision == "bf16" and not has_bf16():
        pytest.skip("needs a processor with bf16")
    converted, (tokens, rgb) = convert(built(MODELS[name])), inputs(528, 752)
    batch = TileInputs(tokens.repeat(3, axis=0), np.stack([rgb[0], 255 - rgb[0], rgb[0] // 2]))
    results = []
    for parallel in (1, 2, 9):
        predictor = OpenvinoPredictor(converted, None, precision, parallel)
        prepared = predictor.prepared(batch)
        with ThreadPoolExecutor(parallel) as pool:
            calls = [pool.submit(predictor, prepared, (528, 752)) for _ in range(parallel)]
            results += [np.stack(call.result()) for call in calls]
    assert len({result.tobytes() for result in results}) == 1


def test_a_result_outlives_the_next_call():
    converted = convert(built(MODELS["rgb"]))
    tokens, rgb = inputs(208, 336)
    network = CompiledNetwork(
        read_network(converted.xml, converted.weights),
        {"tokens": tokens.shape, "rgb": rgb.shape},
    )
    first, second = (network({"tokens": tokens, "rgb": rgb}) for _ in range(2))
    kept = first.copy()
    network({"tokens": tokens, "rgb": 255 - rgb})
    assert np.array_equal(first, second)  # results are arrays of their own
    assert np.array_equal(first, kept)
