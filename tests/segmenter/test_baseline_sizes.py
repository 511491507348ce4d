"""The networks over pixels at full size: parameters and layout as published."""

from pathlib import Path

import pytest
import torch
import yaml
from baseline_networks import KINDS
from pydantic import TypeAdapter

from holohisto.config.models import (
    DeeplabModel,
    DynunetModel,
    HolohistoModel,
    ModelOptions,
    SamBaseModel,
    SamHugeModel,
    SegformerModel,
    SwinunetrModel,
    UnetModel,
    UnetrModel,
)
from holohisto.segmenter.baselines import pretrained
from holohisto.segmenter.baselines.deeplab import DeepLabV3Plus
from holohisto.segmenter.file import build_segmenter

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "models.md"


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


FULL = {
    "unet": (UnetModel(), 1_625_420),
    "dynunet": (DynunetModel(), 59_161_159),
    "unetr": (UnetrModel(), 90_676_465),
    "swinunetr_v2": (SwinunetrModel(), 28_664_395),
    "segformer": (SegformerModel(), 84_594_113),
    "deeplabv3plus": (DeeplabModel(), 26_690_737),
    "sam_vit_b": (SamBaseModel(), 89_744_897),
    "sam_vit_h": (SamHugeModel(), 637_100_033),
}
PUBLISHED = {
    "deeplabv3plus": 25_557_032 - 2_049_000,  # torchvision's ResNet-50 without its classifier
    "sam_vit_b": 89_670_912,  # image encoder of sam_vit_b_01ec64.pth
    "sam_vit_h": 637_026_048,  # and of sam_vit_h_4b8939.pth
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_parameters_at_full_size(kind):
    """As given in docs/models.md, and of backbones as published."""
    options, expected = FULL[kind]
    with torch.device("cpu" if kind == "swinunetr_v2" else "meta"):
        model = build_segmenter(options, None, 1, 1)
    assert count(model) == expected
    if kind in PUBLISHED:
        backbone = model.get_submodule(f"network.{pretrained.BACKBONES[kind]}")
        assert count(backbone) == PUBLISHED[kind]
    table = PAGE.read_text().split("\n## Networks over pixels\n")[1]
    line = next(line for line in table.splitlines() if f"`{kind}`" in line)
    assert f"{expected / 1e6:.1f}" in line


@pytest.mark.parametrize(
    ("size", "millions"),
    [("b0", 3.8), ("b1", 13.7), ("b2", 27.5), ("b3", 47.3), ("b4", 64.1), ("b5", 84.7)],
)
def test_segformer_has_the_papers_numbers_of_parameters(size, millions):
    with torch.device("meta"):
        model = build_segmenter(SegformerModel(size=size), None, 1, 150)
    assert count(model) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("config/demo.yaml", ("unet", "segformer")),
        ("config/table1.yaml", ("unet", "dynunet", "segformer")),
        ("benchmarks/real_slides.yaml", ("unet", "segformer")),
    ],
)
def test_small_baselines_are_as_large_as_the_smallest_segmenter(path, names):
    """As far as their sizes can be chosen."""
    ours = count(build_segmenter(HolohistoModel(size="T"), torch.zeros(1024, 16), 16, 1))
    for name in names:
        entry = yaml.safe_load((ROOT / path).read_text())["models"][name]
        options = TypeAdapter(ModelOptions).validate_python(entry)
        assert count(build_segmenter(options, None, 1, 1)) == pytest.approx(ours, rel=0.1)


def test_deeplabs_last_stage_keeps_a_sixteenth_and_looks_wider():
    network = DeepLabV3Plus("toy", 1)
    seen = []
    network.backbone.layer4.register_forward_hook(lambda *given: seen.append(given[2].shape))
    assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 1, 16, 24)
    assert seen == [(2, 64, 4, 6)]
    full = DeepLabV3Plus("resnet50", 1).backbone.layer4
    assert [block.conv2.dilation for block in full] == [(1, 1), (2, 2), (2, 2)]
    assert {block.conv2.stride for block in full} == {(1, 1)}


def test_sam_attends_everywhere_in_the_published_layers():
    with torch.device("meta"):
        for options, layers in (
            (SamBaseModel(), [2, 5, 8, 11]),
            (SamHugeModel(), [7, 15, 23, 31]),
        ):
            encoder = build_segmenter(options, None, 1, 1).network.encoder.vision_encoder
            assert [n for n, one in enumerate(encoder.layers) if one.window_size == 0] == layers
