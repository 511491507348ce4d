"""A picture in memory is segmented as the verbs segment its file."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from slide_files import tissue

from holohisto import cli
from holohisto.config.config import Config
from holohisto.config.models import ColourThresholdModel, HolohistoModel
from holohisto.config.parsing import parse_config
from holohisto.errors import HolohistoError
from holohisto.infer.array import segment_array
from holohisto.infer.job import Speed
from holohisto.pyramid.raster import Raster
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, load_segmenter, save_segmenter
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.file import load_tokenizer, save_tokenizer, tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN

SIZE = (611, 443)
CLASSES = ("tuft", "capsule")
OPTIONS = {"infer": {"tile": [192, 160]}, "foreground": {"min_piece_mm2": 0.001}}


def picture(size=SIZE):
    """Tissue with glass around it, and darker discs in the tissue."""
    width, height = size
    rgb = tissue(size, (40, 30, width - 60, height - 50)).astype(int)
    y, x = np.mgrid[:height, :width]
    for k, (left, top) in enumerate(((0.3, 0.4), (0.6, 0.6), (0.7, 0.3))):
        disc = (x - left * width) ** 2 + (y - top * height) ** 2 < (height / (6 + k)) ** 2
        rgb[disc] -= 40 + 15 * k
    return rgb.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    torch.manual_seed(0)
    architecture = Architecture(
        channels=8,
        multipliers=(1, 1, 1, 1, 1),
        residual_blocks=1,
        codebook=16,
        dimension=2,
        levels=(4, 4),
    )
    model = VQGAN(architecture).eval().requires_grad_(False)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.safetensors"
    save_tokenizer(model, path, {})
    return path


def write_segmenter(path, mode, precision, digest):
    """An untrained network that says yes about as often as no."""
    torch.manual_seed(0)
    options = HolohistoModel(size="T")
    model = build_segmenter(options, torch.randn(16, 2), 16, len(CLASSES)).eval()
    last = [layer for layer in model.decoder.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    pixels = torch.randint(90, 220, (1, 3, 160, 192)).to(torch.uint8)
    with torch.no_grad():
        logits = model(torch.randint(0, 16, (1, 10, 12)), pixels, (160, 192))
        last.bias -= logits.mean(dim=(0, 2, 3))
    card = ModelCard("m", options, CLASSES, 0.5, (192, 160), digest, 16, mode, precision, {})
    save_segmenter(model.state_dict(), card, path)


def by_the_verb(folder, segmenter, tokenizer, mpp):
    """Labels and probability map of `holohisto segment`."""
    (folder / "config.yaml").write_text(json.dumps(OPTIONS))
    words = ["segment", folder / "roi.png", "--model", segmenter, "--tokenizer", tokenizer]
    words += ["--mpp", mpp, "--config", folder / "config.yaml", "--output", folder, "--keep"]
    assert cli.main([str(word) for word in words]) == 0
    for name in ("labels", "probability"):
        with Raster(folder / "roi.work" / f"{name}.tif") as raster:
            yield np.concatenate(list(raster.rows()))


@pytest.mark.parametrize(
    ("mode", "precision", "mpp"),
    [
        ("frozen", "fp32", 0.5),
        ("frozen", "bf16", 0.25),
        ("window", "fp32", 0.5),
        ("online", "fp32", 0.5),
        ("online", "bf16", 0.5),
    ],
)
def test_labels_and_probabilities_are_those_of_the_verbs(tmp_path, tokenizer, mode, precision, mpp):
    rgb = picture()
    Image.fromarray(rgb).save(tmp_path / "roi.png")
    loaded = load_tokenizer(tokenizer)
    segmenter = tmp_path / "segmenter.safetensors"
    write_segmenter(segmenter, mode, precision, tokenizer_digest(loaded))
    model, card, _ = load_segmenter(segmenter)
    config = parse_config(OPTIONS)
    labels, probability = segment_array(model, card, rgb, loaded, mpp=mpp, config=config)
    factor = round(0.5 / mpp)
    assert labels.shape == (-(-SIZE[1] // factor), -(-SIZE[0] // factor))
    assert len(np.unique(labels)) > 2
    expected_labels, expected_probability = by_the_verb(tmp_path, segmenter, tokenizer, mpp)
    assert np.array_equal(labels, expected_labels)
    assert np.array_equal(probability, expected_probability)


@pytest.mark.parametrize("mode", ["frozen", "window", "online"])
def test_a_picture_is_encoded_in_the_precision_of_the_training(
    tmp_path, tokenizer, mode, monkeypatch
):
    """On this CPU, `auto` is fp32; the configuration does not matter."""
    loaded, seen = load_tokenizer(tokenizer), []
    deep = VQGAN.deep

    def watched(self, features):
        latents = deep(self, features)
        seen.append(latents.dtype)
        return latents

    monkeypatch.setattr(VQGAN, "deep", watched)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        path = tmp_path / f"{precision}.safetensors"
        write_segmenter(path, mode, precision, tokenizer_digest(loaded))
        model, card, _ = load_segmenter(path)
        assert card.precision == precision
        for wanted in ("auto", "fp32", "bf16"):
            seen.clear()
            config = parse_config(OPTIONS | {"tokens": {"precision": wanted}})
            segment_array(model, card, picture(), loaded, config=config)
            measured = mode == "frozen"  # the statistics, first and in fp32
            assert set(seen[measured:]) == {dtype}


def floor():
    """A segmenter of dark pixels, without tokens, and its card."""
    model = build_segmenter(ColourThresholdModel(), None, 1, 1)
    model.threshold[:], model.sign[:] = 0.5, -1
    card = ModelCard(
        "floor", ColourThresholdModel(), ("disc",), 0.5, (256, 192), None, 1, "frozen", None, {}
    )
    return model.eval(), card


def test_neither_speed_nor_an_earlier_call_alters_the_result():
    model, card = floor()
    first = segment_array(model, card, picture(), config=parse_config(OPTIONS))
    for speed in (Speed(), Speed(3, 2, 1, 2)):
        again = segment_array(model, card, picture(), config=parse_config(OPTIONS), speed=speed)
        assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    assert 0 < first[0].mean() < 1


def test_the_number_of_threads_of_torch_is_restored():
    before = torch.get_num_threads()
    segment_array(*floor(), picture())
    assert torch.get_num_threads() == before


def test_a_picture_without_tissue_is_refused():
    with pytest.raises(HolohistoError, match="no tissue"):
        segment_array(*floor(), np.full((90, 131, 3), 243, np.uint8))


def test_a_missing_or_other_tokenizer_is_refused(tokenizer):
    model, card = floor()
    card = ModelCard(**vars(card) | {"tokenizer": "0" * 64})
    with pytest.raises(HolohistoError, match="give its tokenizer"):
        segment_array(model, card, picture(), config=Config())
    with pytest.raises(HolohistoError, match="is not the tokenizer"):
        segment_array(model, card, picture(), load_tokenizer(tokenizer))
