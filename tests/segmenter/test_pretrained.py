"""Pretrained backbones: published files fill them exactly, others are refused."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from baseline_networks import KINDS, TOYS, built
from safetensors.torch import save_file

from holohisto.config.models import BackboneModel
from holohisto.config.parsing import parse_config
from holohisto.errors import HolohistoError
from holohisto.segmenter.baselines import pretrained
from holohisto.segmenter.file import build_segmenter
from holohisto.tokenizer.published import weights

WITH_BACKBONE = [kind for kind in KINDS if isinstance(TOYS[kind], BackboneModel)]


def published(kind, folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file as its publishers lay it out, with other weights than those of seed 0.

    Returns it with the backbone's weights by the names they have here.
    """
    torch.manual_seed(7)
    model = build_segmenter(TOYS[kind], None, 1, 3)
    place = pretrained.BACKBONES[kind]
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
    place = f"network.{pretrained.BACKBONES[kind]}."
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
        ("lacks", r"1 weights are missing \(layer1\.0\.conv1\.weight\)"),
        ("unknown", r"1 are unknown \(layer9\.weight\)"),
        ("shape", r"conv1\.weight \(4, 3, 7, 7\) instead of \(8, 3, 7, 7\)"),
        ("other", r"\d\d weights are missing .*, \.\.\.\); 1 are unknown \(conv1\.bias\)"),
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
    where = str(caught.value).split(": ")[0]
    assert where.endswith(f"/{path.name}")
    assert str(path).endswith(where.removeprefix("..."))
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
