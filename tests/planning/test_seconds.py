"""Estimated times agree with measured ones, and follow what they depend on."""

import pytest

from holohisto.config.parsing import parse_config
from holohisto.planning.seconds import (
    of_encoding,
    of_inference,
    of_tokenizer_training,
    of_training,
)
from holohisto.planning.work import decoder_work, encoder_work, segmenter_work

FACTOR = 1.5
MODELS = {"t": {"kind": "holohisto", "size": "T"}, "unet": {"kind": "unet"}}
DEFAULTS = parse_config({"models": MODELS})


def near(estimated: float, measured: float) -> None:
    assert measured / FACTOR < estimated < measured * FACTOR


def test_tokens_of_a_small_image_by_the_default_tokenizer_on_a_cpu():
    """Measured: 37.8 CPU seconds for 1021 x 763, 68 % tissue, one variant."""
    near(of_encoding((1021, 763), (1021, 763), 1, 0.68, DEFAULTS).cpu, 37.8)


def test_inference_of_a_slide_by_size_t_on_a_cpu():
    """Measured: 17.5 CPU seconds for 9,003 x 8,017, all tissue, by OpenVINO."""
    size = (9_003, 8_017)
    near(of_inference(size, size, DEFAULTS.models["t"], 1.0, DEFAULTS).cpu, 17.5)


def test_a_small_image_is_one_tile_however_large_tiles_are():
    size = (717, 523)
    small = parse_config({"infer": {"tile": [800, 600], "overlap": 0.5}})
    model = DEFAULTS.models["t"]
    assert of_inference(size, size, model, 1.0, small) == of_inference(
        size, size, model, 1.0, DEFAULTS
    )


def test_a_slide_is_read_once_for_all_variants():
    size, working = (90_000, 80_001), (45_000, 40_001)
    one, two = (of_encoding(size, working, n, 1.0, DEFAULTS) for n in (1, 2))
    # Read by four cores: the second variant adds its scaling and recolouring.
    assert two.gpu - one.gpu == pytest.approx(45_000 * 40_001 / 15e6 / 4)
    assert one.gpu > 90_000 * 80_001 / 60e6 / 4
    assert 1.9 * one.cpu < two.cpu < 2.1 * one.cpu  # the encoder takes most of it


def test_training_follows_steps_tiles_and_devices():
    base = parse_config({"train": {"steps": 100, "batch": 2, "tile": [512, 384]}})
    more = parse_config({"train": {"steps": 300, "batch": 4, "tile": [1024, 384], "devices": 2}})
    model = DEFAULTS.models["t"]
    few, many = of_training(model, base), of_training(model, more)
    assert few.cpu == pytest.approx(3 * 100 * 2 * 512 * 384 * 5_462 / 18e9)
    assert many.cpu == pytest.approx(12 * few.cpu)
    assert many.gpu == pytest.approx(6 * few.gpu)
    longer = parse_config({"tokenizer": {"steps": 40_000}})
    ratio = of_tokenizer_training(longer).gpu / of_tokenizer_training(DEFAULTS).gpu
    assert ratio == pytest.approx(2.0)


def test_the_work_of_networks_is_that_which_torch_counts():
    assert sum(encoder_work(DEFAULTS.tokenizer)) == pytest.approx(391_478, rel=1e-4)
    narrow = parse_config({"tokenizer": {"channels": 32}}).tokenizer
    assert sum(encoder_work(narrow)) == pytest.approx(98_331, rel=1e-4)
    finer = parse_config({"tokenizer": {"multipliers": [1, 2, 4, 8]}}).tokenizer
    assert sum(encoder_work(finer)) == pytest.approx(718_443, rel=1e-4)
    assert decoder_work(finer) == pytest.approx(1_612_394, rel=0.03)
    assert decoder_work(DEFAULTS.tokenizer) == pytest.approx(864_566, rel=0.03)
    published = parse_config({"tokenizer": {"checkpoint": "c"}}).tokenizer
    assert sum(encoder_work(published)) > 2 * sum(encoder_work(DEFAULTS.tokenizer))
    assert segmenter_work(DEFAULTS.models["unet"]) == 11_657
