"""The networks over pixels: shapes, margins, training, files, budget, pretrained starts."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from baseline_networks import KINDS, TILE, TOYS, built, pixels
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import nn
from training_runs import OPTIONS, SIZE, numbers, run, slide

from holohisto.config.models import (
    BackboneModel,
    DeeplabModel,
    DynunetModel,
    PixelOptions,
    SamBaseModel,
    SamHugeModel,
    SegformerModel,
    SwinunetrModel,
    UnetModel,
    UnetrModel,
)
from holohisto.config.parsing import parse_config
from holohisto.errors import HolohistoError
from holohisto.segmenter.baselines import pretrained
from holohisto.segmenter.baselines.deeplab import DeepLabV3Plus
from holohisto.segmenter.baselines.networks import Sides
from holohisto.segmenter.baselines.pixels import MEAN, SPREAD
from holohisto.segmenter.file import ModelCard, build_segmenter, load_segmenter, save_segmenter
from holohisto.tokenizer.published import weights
from holohisto.training.trainer import Trainer

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
WITH_BACKBONE = [kind for kind in KINDS if isinstance(TOYS[kind], BackboneModel)]


def test_every_row_of_the_papers_table_is_a_kind():
    kinds = {arm.model_fields["kind"].default for arm in PixelOptions.__args__}
    assert kinds == set(TOYS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 96), (51, 77), (5, 7)])
@torch.no_grad()
def test_any_side_is_widened_with_background_and_the_logits_cut_back(kind, size):
    """Exactly what the network gives for the tile in the corner of a white one that it takes."""
    model, rgb = built(kind), pixels(*size)
    height, width = model.sides.of(*size)
    wide = torch.full((1, 3, height, width), 255, dtype=torch.uint8)
    wide[:, :, : size[0], : size[1]] = rgb
    out = model(None, rgb, size)
    assert out.shape == (1, 2, *size)
    assert torch.equal(out, model(None, wide, (height, width))[:, :, : size[0], : size[1]])
    if (height, width) != size:
        wide[:, :, size[0] :] = 0
        wide[:, :, :, size[1] :] = 0
        black = model(None, wide, (height, width))[:, :, : size[0], : size[1]]
        assert not torch.equal(out, black)  # the margin is seen


class Echo(nn.Module):
    """Gives back what it gets."""

    def forward(self, given):
        return given


def test_pixels_reach_the_network_normalised_and_in_place():
    model, rgb = built("unet"), pixels(51, 77, batch=2)
    model.network, model.sides = Echo(), Sides(32)
    out = model(None, rgb, (51, 77))
    shape = (1, 3, 1, 1)
    expected = (rgb / 255 - torch.tensor(MEAN).view(shape)) / torch.tensor(SPREAD).view(shape)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_coarse_logits_are_enlarged_over_the_whole_tile():
    class Columns(nn.Module):
        def forward(self, given):
            return torch.arange(given.shape[3] / 4).expand(1, 1, given.shape[2] // 4, -1)

    model = built("unet")
    model.network, model.sides = Columns(), Sides(16)
    out = model(None, pixels(40, 70), (40, 70))  # widened to 48 x 80: 20 columns
    torch.testing.assert_close(out[0, 0, 20, 2:70], (torch.arange(2, 70) - 1.5) / 4)


@pytest.mark.parametrize(
    ("sides", "size", "expected"),
    [
        (Sides(32), (64, 96), (64, 96)),
        (Sides(32), (65, 1), (96, 64)),
        (Sides(1), (51, 77), (51, 77)),
        (Sides(fixed=(96, 64)), (10, 20), (64, 96)),
    ],
)
def test_sides_are_the_least_that_the_network_takes(sides, size, expected):
    assert sides.of(*size) == expected


def test_a_tile_larger_than_a_fixed_network_is_refused():
    with pytest.raises(ValueError, match="100 x 60 for a network of"):
        Sides(fixed=(96, 64)).of(60, 100)


def trainer(kind, tmp_path, options=OPTIONS, **changes):
    torch.manual_seed(0)
    model = build_segmenter(TOYS[kind].model_copy(update=changes), None, 1, 1)
    fabric = Fabric(accelerator="cpu", devices=1)
    return Trainer(model, [slide(1), slide(2)], [slide(3)], options, 0, fabric, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_each_learns_and_its_file_keeps_it(kind, tmp_path):
    coverage = {"swinunetr_v2": 0.3, "unetr": 0.5, "unet": 1.5}.get(kind, 1.0)  # by their speed
    options = OPTIONS.model_copy(update={"coverage": coverage, "learning_rate": 1e-2})
    a_trainer = trainer(kind, tmp_path, options)
    rows = run(a_trainer, tmp_path)
    assert rows[-1].loss < 0.9 * rows[0].loss
    assert a_trainer.progress.best_dice > 0.6
    path = tmp_path / "segmenter.safetensors"
    card = ModelCard(
        name=kind,
        options=TOYS[kind],
        classes=("a",),
        mpp=0.5,
        tile=TILE,
        tokenizer=None,
        downscale=1,
        mode="frozen",
        summary={"pretrained": pretrained.SCRATCH},
    )
    save_segmenter(a_trainer.progress.best, card, path)
    again, found, _ = load_segmenter(path)
    assert found == card
    a_trainer.average.model.load_state_dict(a_trainer.progress.best)
    rgb = pixels(61, 90)
    with torch.no_grad():
        assert torch.equal(again(None, rgb, (61, 90)), a_trainer.average.model(None, rgb, (61, 90)))


@pytest.mark.parametrize("kind", ["segformer", "deeplabv3plus"])
def test_with_dropout_too_resumed_equals_uninterrupted(kind, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    options = OPTIONS.model_copy(update={"epochs": 2})
    rows = run(trainer(kind, tmp_path, options), tmp_path / "a")
    run(trainer(kind, tmp_path, options), tmp_path / "b", epochs=1)
    torch.rand(7)  # whatever happened in between
    resumed = trainer(kind, tmp_path, options)
    assert numbers(run(resumed, tmp_path / "b")) == numbers(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_trained(kind):
    """Parameters that get no gradient would stop training on several devices."""
    model = built(kind).train()
    model(None, pixels(64, 96, batch=2), (64, 96)).square().mean().backward()
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


def test_a_step_sees_as_many_pixels_with_another_tile(tmp_path):
    small = trainer("unet", tmp_path, tile=(48, 32))
    usual = trainer("unet", tmp_path)
    assert (usual.plan.batch, small.plan.batch) == (OPTIONS.batch, 4 * OPTIONS.batch)
    assert small.plan.tile == (48, 32)
    assert small.plan.steps == usual.plan.steps > 0
    batch = small.batches.read(0, 0)
    assert batch.rgb.shape == (8, 3, 32, 48)
    large = trainer("unet", tmp_path, tile=(5000, 5000))
    assert large.plan.tile == (336, 256)  # the slides' size, in whole snaps
    assert large.plan.batch == 1


def test_parts_of_a_step_add_up_to_the_mean_of_their_losses(tmp_path):
    options = OPTIONS.model_copy(update={"batch": 6, "clip": 1e9})
    a_trainer = trainer("unet", tmp_path, options, micro_batch=4)
    assert a_trainer.plan.micro_batches == 2
    batch = a_trainer.batches.read(0, 0)
    parts = batch.split(2)
    assert [part.names for part in parts] == [batch.names[:3], batch.names[3:]]
    np.testing.assert_array_equal(np.concatenate([part.rgb for part in parts]), batch.rgb)
    np.testing.assert_array_equal(np.concatenate([part.target for part in parts]), batch.target)
    assert parts[0].tokens is None
    mean = sum(a_trainer.loss(part) for part in parts) / 2
    expected = torch.autograd.grad(mean, list(a_trainer.raw_model.parameters()))
    assert a_trainer.step(batch) == pytest.approx(mean.item(), rel=1e-6)
    for parameter, gradient in zip(a_trainer.raw_model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


FULL = {
    "unet": (UnetModel(), 1_625_420),
    "dynunet": (DynunetModel(), 59_159_169),
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
        backbone = model.get_submodule(f"network.{pretrained.BACKBONES[kind][0]}")
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


def published(kind, folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file as its publishers lay it out, with other weights than those of seed 0.

    Returns it with the backbone's weights by the names they have here.
    """
    torch.manual_seed(7)
    model = build_segmenter(TOYS[kind], None, 1, 3)
    place, _ = pretrained.BACKBONES[kind]
    backbone = model.get_submodule(f"network.{place}")
    with torch.no_grad():
        for value in backbone.state_dict().values():
            if value.is_floating_point():
                value.normal_()
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    if kind == "segformer":
        model.network.network.save_pretrained(folder)  # with the names of the hub's files
        return folder / "model.safetensors", state
    if kind == "sam_vit_b":
        model.network.encoder.save_pretrained(folder)
        return folder / "model.safetensors", state
    path = folder / "published.pth"
    if kind == "sam_vit_h":
        torch.save(meta_names(state) | {"mask_decoder.iou_token.weight": torch.ones(1)}, path)
    elif kind == "deeplabv3plus":
        old = {name: value for name, value in state.items() if "num_batches" not in name}
        torch.save(old | {"fc.weight": torch.ones(9, 9), "fc.bias": torch.ones(9)}, path)
    else:
        whole = {f"module.{name}": value for name, value in model.network.state_dict().items()}
        key = "state_dict" if kind == "unetr" else "model"
        torch.save({"epoch": 3, key: whole}, path)
    return path, state


def meta_names(state):
    """The names of segment_anything/modeling/image_encoder.py."""
    renamed = {}
    for name, value in state.items():
        for here, there in (
            ("patch_embed.projection", "patch_embed.proj"),
            ("layers.", "blocks."),
            ("layer_norm", "norm"),
            ("neck.conv1", "neck.0"),
            ("neck.norm1", "neck.1"),
            ("neck.conv2", "neck.2"),
            ("neck.norm2", "neck.3"),
        ):
            name = name.replace(here, there)
        renamed[f"image_encoder.{name}"] = value
    return renamed


@pytest.mark.parametrize("kind", WITH_BACKBONE)
def test_a_published_file_fills_the_whole_backbone_and_nothing_else(kind, tmp_path):
    path, state = published(kind, tmp_path)
    before, model = built(kind).state_dict(), built(kind)
    options = TOYS[kind].model_copy(update={"pretrained": path})
    assert pretrained.start(model, options) == f"pretrained: {path.name}"
    place = f"network.{pretrained.BACKBONES[kind][0]}."
    for name, value in model.state_dict().items():
        own = state[name.removeprefix(place)] if name.startswith(place) else before[name]
        assert torch.equal(value, own), name
    assert len(state) > 20


def test_published_names_are_those_of_the_publishers(tmp_path):
    """So that the files written above stand for real ones."""
    path, _ = published("segformer", tmp_path)
    names = set(weights.read(path))
    assert {
        "segformer.encoder.patch_embeddings.0.proj.weight",
        "segformer.encoder.block.0.0.attention.self.query.weight",
        "segformer.encoder.block.0.0.attention.self.sr.weight",
        "segformer.encoder.block.3.0.mlp.dwconv.dwconv.bias",
        "segformer.encoder.layer_norm.3.weight",
        "decode_head.classifier.weight",
    } <= names


@pytest.mark.parametrize("kind", ["unet", "dynunet"])
def test_without_a_file_training_starts_from_scratch(kind):
    assert pretrained.start(built(kind), TOYS[kind]) == "scratch"
    with pytest.raises(HolohistoError, match=r"models\.a\.pretrained: unknown key"):
        parse_config({"models": {"a": {"kind": kind, "pretrained": "file.pth"}}})


def broken(kind: str, folder: Path, damage: str) -> Path:
    path, _ = published("deeplabv3plus", folder)
    state = torch.load(path, weights_only=True)
    if damage == "lacks":
        del state["layer1.0.conv1.weight"]
    if damage == "unknown":
        state["layer9.weight"] = torch.ones(1)
    if damage == "shape":
        state["conv1.weight"] = torch.ones(4, 3, 7, 7)
    torch.save(state, path)
    if damage == "infinite":
        state["conv1.weight"][0] = torch.inf
        torch.save(state, path)
    if damage == "object":
        torch.save({"model": Fraction(1, 2)}, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:999])
    if damage == "number":
        torch.save(3, path)
    if damage == "safetensors":
        path = folder / "file.safetensors"
        path.write_bytes(b"no")
    if damage == "other":
        path = folder / "other.safetensors"
        save_file({"conv1.bias": torch.ones(1)}, path)
    if damage == "missing":
        path.unlink()
    return path


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("lacks", r"1 weights lack \(layer1\.0\.conv1\.weight\)"),
        ("unknown", r"1 have no place \(layer9\.weight\)"),
        ("shape", r"conv1\.weight \(4, 3, 7, 7\) instead of \(8, 3, 7, 7\)"),
        ("other", r"\d\d weights lack .*, \.\.\.\); 1 have no place \(conv1\.bias\)"),
        ("infinite", r"1 are damaged: not all their numbers are finite \(conv1\.weight\)"),
        ("object", r"is refused: it asks for code.*found fractions\.Fraction"),
        ("cut", "cannot be read: "),
        ("number", r"holds no weights by name \(found int\)"),
        ("safetensors", "cannot be read: "),
        ("missing", "cannot be read: "),
    ],
)
def test_weights_that_do_not_fit_exactly_are_refused_in_one_line(damage, words, tmp_path):
    path = broken("deeplabv3plus", tmp_path, damage)
    model = built("deeplabv3plus")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = TOYS["deeplabv3plus"].model_copy(update={"pretrained": path})
    with pytest.raises(HolohistoError, match=words) as caught:
        pretrained.start(model, options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_codes_of_positions_need_the_tile_of_the_file(tmp_path):
    path, _ = published("sam_vit_b", tmp_path)
    options = TOYS["sam_vit_b"].model_copy(update={"pretrained": path, "tile": (128, 128)})
    model = build_segmenter(options, None, 1, 1)
    with pytest.raises(HolohistoError, match=r"rel_pos_h \(11, 16\) instead of \(15, 16\)"):
        pretrained.start(model, options)


def test_a_trained_segmenter_and_a_start_exclude_each_other():
    entry = {"kind": "segformer", "weights": "a.safetensors", "pretrained": "b.pth"}
    with pytest.raises(HolohistoError, match=r"models\.a: has both `weights`"):
        parse_config({"models": {"a": entry}})


OFFLINE = """
import socket, sys

def refuse(*arguments, **keywords):
    raise AssertionError(f"network: {arguments}")

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = refuse

from holohisto.config import models
from holohisto.segmenter.file import build_segmenter

heavy = ("monai", "transformers")
build_segmenter(models.ColourThresholdModel(), None, 1, 1)
assert not any(name in sys.modules for name in heavy), "loaded before it is needed"
for options in (
    models.UnetModel(channels=(4, 8)),
    models.DynunetModel(channels=(4, 8, 8)),
    models.UnetrModel(size="toy"),
    models.SwinunetrModel(channels=12),
    models.SegformerModel(size="toy"),
    models.DeeplabModel(size="toy"),
    models.SamBaseModel(size="toy"),
    models.SamHugeModel(size="toy"),
):
    build_segmenter(options, None, 1, 1)
print([name for name in ("torchvision", "timm") if name in sys.modules])
"""


def test_building_them_reaches_for_no_network_and_no_torchvision():
    proxies = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        capture_output=True,
        text=True,
        env={**os.environ, **proxies},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.replace("'", '"')) == []


def test_the_slides_of_these_tests_are_no_multiple_of_anything():
    assert all(side % 16 for side in SIZE)
