"""Odd and damaged versions of everything that a user hands over: one short line, or a result.

HOLOHISTO_MUTANTS sets how many of each kind are tried; the draw is the same every time.
"""

import json
import os
import random

import numpy as np
import pytest
import torch
import yaml
from mutants import DATES, as_json, as_yaml, changed_bytes, changed_value
from tiny_cohort import CONFIG

from holohisto.annotation import Annotation
from holohisto.config.config import Config
from holohisto.config.parsing import from_json, read_config
from holohisto.config.sections import Classes, ClassOptions, MaskOptions
from holohisto.errors import LONGEST, HolohistoError
from holohisto.sheet.rows import read_sheet
from holohisto.slide.scale import Scale
from holohisto.tokenizer.published import load

MUTANTS = int(os.environ.get("HOLOHISTO_MUTANTS", "40"))
SHEET = (
    "slide\timage\tsplit\tannotation\tgroup\tsubject\tmpp\tsaturation\tannotated\texclude\tnote\n"
    "a\ta.tif\ttrain\ta.png\tCKD\tM1\t0.25\t0.1\tglomerulus\t\tnote\n"
    'b\tb.tif\ttest\t\t"CKD ""2"""\tM2\t\t\t\tyes\t\n'
)
RING = [[30.5, 20.0], [90.0, 20.0], [90.0, 70.0], [30.5, 20.0]]
GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "1",
            "geometry": {"type": kind, "coordinates": coordinates},
            "properties": {"objectType": "annotation", "classification": {"name": "glomerulus"}},
        }
        for kind, coordinates in (
            ("Polygon", [RING]),
            ("MultiPolygon", [[RING], [RING]]),
            ("LineString", RING[:2]),
        )
    ],
}
COCO = {
    "images": [{"id": 1, "width": 130, "height": 110, "file_name": "a.png"}],
    "categories": [{"id": 1, "name": "glomerulus"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[30, 20, 90, 20, 90, 70]]},
    ],
}
LABELME = {
    "version": "5.0",
    "imageWidth": 130,
    "imageHeight": 110,
    "shapes": [{"label": "glomerulus", "points": RING, "shape_type": "polygon"}],
}
ASAP = """<?xml version="1.0"?><ASAP_Annotations><Annotations>
<Annotation Name="1" Type="Polygon" PartOfGroup="glomerulus" Color="#F4FA58"><Coordinates>
<Coordinate Order="0" X="30" Y="20" /><Coordinate Order="1" X="90" Y="20" />
<Coordinate Order="2" X="90" Y="70" /></Coordinates></Annotation></Annotations>
<AnnotationGroups><Group Name="glomerulus" PartOfGroup="None" Color="#64FE2E"><Attributes />
</Group></AnnotationGroups></ASAP_Annotations>"""
TAMING = {
    "model": {
        "target": "taming.models.vqgan.VQModel",
        "params": {
            "embed_dim": 4,
            "n_embed": 16,
            "ddconfig": {
                "double_z": False,
                "z_channels": 4,
                "resolution": 64,
                "in_channels": 3,
                "out_ch": 3,
                "ch": 32,
                "ch_mult": [1, 2],
                "num_res_blocks": 1,
                "attn_resolutions": [],
            },
        },
    }
}
OPENMUSE = {
    "_class_name": "VQGANModel",
    "hidden_channels": 32,
    "channel_mult": [1, 2],
    "num_res_blocks": 2,
    "attn_resolutions": [16],
    "resolution": 64,
    "num_embeddings": 16,
    "quantized_embed_dim": 4,
    "z_channels": 4,
}
DIFFUSERS = {
    "_class_name": "VQModel",
    "block_out_channels": [32, 64],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "latent_channels": 4,
    "num_vq_embeddings": 16,
}


def outcome(read, *arguments):
    """Whether the reader refused, in lines that are short and printable; other errors are bugs."""
    try:
        read(*arguments)
    except HolohistoError as error:
        lines = str(error).split("\n")
        return "refused", all(len(line) <= LONGEST and line.isprintable() for line in lines)
    return "read", True


def try_all(read, path, contents):
    refused = 0
    for number, content in enumerate(contents):
        path.write_bytes(content)
        found, short = outcome(read, path)
        assert short, f"mutant {number}"
        refused += found == "refused"
    return refused


def test_configurations(tmp_path):
    draw = random.Random("configuration")
    full = {**json.loads(Config().model_dump_json()), **CONFIG}
    text = yaml.safe_dump(CONFIG).encode()
    values = (as_yaml(changed_value(full, draw, DATES)) for _ in range(MUTANTS))
    assert try_all(read_config, tmp_path / "c.yaml", values) > 0.5 * MUTANTS
    assert try_all(
        read_config, tmp_path / "c.yaml", (changed_bytes(text, draw) for _ in range(MUTANTS))
    )
    aliases = b"a0: &a0 [x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)
    )
    assert try_all(read_config, tmp_path / "c.yaml", [aliases, b"[" * 5000, b"a: 2024-99-99"]) == 3


def test_options_of_verbs():
    draw = random.Random("options")
    refused = 0
    options = json.loads(MaskOptions().model_dump_json())
    classes = {"a": {"values": [3, "#00ff00"], "colour": "#123456"}}
    for _ in range(MUTANTS):
        for kind, value in ((MaskOptions, options), (Classes, classes)):
            text = as_json(changed_value(value, draw)).decode()
            found, short = outcome(from_json(kind), text)
            assert short
            refused += found == "refused"
    assert refused > 0.5 * MUTANTS


def test_sheets(tmp_path):
    draw, text = random.Random("sheet"), SHEET.encode()
    mutants = [changed_bytes(text, draw) for _ in range(2 * MUTANTS)]
    assert try_all(read_sheet, tmp_path / "s.tsv", mutants) > 0.5 * MUTANTS


@pytest.mark.parametrize("kind", ["taming", "openmuse", "diffusers"])
def test_configurations_of_tokenizers(tmp_path, kind):
    draw = random.Random(kind)
    weights = {"taming": "m.ckpt", "openmuse": "pytorch_model.bin"}.get(
        kind, "diffusion_pytorch_model.bin"
    )
    torch.save({"a": torch.zeros(3)}, tmp_path / weights)
    value = {"taming": TAMING, "openmuse": OPENMUSE, "diffusers": DIFFUSERS}[kind]
    path = tmp_path / ("m.yaml" if kind == "taming" else "config.json")
    write = as_yaml if kind == "taming" else as_json

    def read(_):
        load.read(tmp_path, "0..1" if kind == "diffusers" else None)

    mutants = [write(changed_value(value, draw)) for _ in range(MUTANTS)]
    mutants += [changed_bytes(write(value), draw) for _ in range(MUTANTS)]
    assert try_all(read, path, mutants) == 2 * MUTANTS  # the weights fit none of them


@pytest.mark.parametrize(
    ("name", "value"),
    [("a.geojson", GEOJSON), ("a.json", COCO), ("a.json", LABELME), ("a.xml", ASAP)],
    ids=["geojson", "coco", "labelme", "asap"],
)
def test_annotations(tmp_path, name, value):
    draw = random.Random(name)
    classes = {"glomerulus": ClassOptions()}

    def read(path):
        with Annotation(path, classes, (130, 110), Scale.whole(1)) as annotation:
            assert annotation.read((0, 0), (130, 110)).dtype == np.uint8

    text = value.encode() if isinstance(value, str) else as_json(value)
    mutants = [text, *(changed_bytes(text, draw) for _ in range(MUTANTS))]
    if not isinstance(value, str):
        mutants += [as_json(changed_value(value, draw)) for _ in range(2 * MUTANTS)]
    read_whole = try_all(read, tmp_path / name, mutants[:1])
    assert read_whole == 0
    assert try_all(read, tmp_path / name, mutants[1:]) > 0.2 * MUTANTS
