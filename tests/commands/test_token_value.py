"""The verb token_value: Dice of a model with tokens as they are, left out and shuffled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from labelled_slide import run
from PIL import Image
from without_torch import run_without_torch

from holohisto import cli
from holohisto.config.models import HolohistoModel, UnetModel
from holohisto.config.training import TokensOptions
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.results import Results
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, load_segmenter, save_segmenter
from holohisto.slide.record import SlideRecord
from holohisto.slide.scale import Scale
from holohisto.statistics.files import read_table
from holohisto.tiles.grid import Tile
from holohisto.tokens.altered import shuffled
from holohisto.tokens.needed import tissue_tokens
from holohisto.tokens.token_map import TokenMap, load_token_map, save_token_map, tile_tokens

SIZE = (320, 272)  # multiples of 16: one tile is the slide
CLASSES = '{"tuft": {"values": [1]}, "capsule": {"values": [2]}}'
CONDITIONS = ["as they are", "left out", "shuffled"]
COLUMNS = ["slide", "condition", "tiles", "dice tuft", "dice capsule", "dice mean"]
SHEET = "slide\timage\tannotation\tannotated\tsplit\texclude\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two annotated test slides, of e2 the tuft only; and others, of which there is no file."""
    folder = tmp_path_factory.mktemp("value")
    lines = ["t1\tt1.tif\tt1.png\t\ttrain\t", "e3\te3.tif\t\t\ttest\t"]
    lines += ["e4\te4.tif\te4.png\t\ttest\tyes"]
    for seed, (name, annotated) in enumerate((("e1", ""), ("e2", "tuft"))):
        write_slide(folder, name, np.random.default_rng(seed))
        lines.append(f"{name}\t{folder / name}.tif\t{folder / name}.png\t{annotated}\ttest\t")
    (folder / "slides.tsv").write_text(SHEET + "\n".join(lines) + "\n")
    write_segmenter(folder / "m1.safetensors", HolohistoModel(size="T"))
    return folder


def write_slide(folder: Path, name: str, random: np.random.Generator) -> None:
    """Blocks of colour with glass around them, annotated at random; and the files of a run."""
    results, image = Results(folder / "results"), folder / f"{name}.tif"
    rgb = np.full((SIZE[1], SIZE[0], 3), 244, np.uint8)
    blocks = random.integers(90, 220, (22, 27, 3)).astype(np.uint8)
    rgb[20:-32, 20:-30] = np.kron(blocks, np.ones((10, 10, 1), np.uint8))
    write_slide_pyramid(image, rgb, 0.5)
    annotation = np.kron(random.integers(0, 3, (17, 20)), np.ones((16, 16), int))
    Image.fromarray(annotation.astype(np.uint8)).save(folder / f"{name}.png")
    record, foreground = results.record(name), results.foreground(name)
    run("check", image, "--slide", name, "--output", record)
    picture = ["--picture", folder / f"{name}.jpg"]
    run("foreground", image, "--record", record, "--foreground", foreground, *picture)
    tokens = random.integers(0, 64, (17, 20)).astype(np.uint16)
    fingerprint = SlideRecord.read(record).fingerprint
    token_map = TokenMap(
        [tokens], name, fingerprint, "0" * 64, 16, (0,), "fp32", TokensOptions(), Scale.whole(1)
    )
    save_token_map(token_map, results.tokens(name))


def write_segmenter(path: Path, options, mode: str = "frozen") -> None:
    """An untrained network that finds about half of the pixels, more by tokens than by pixels."""
    torch.manual_seed(0)
    reads = isinstance(options, HolohistoModel)
    model = build_segmenter(options, torch.randn(64, 8) if reads else None, 16, 2).eval()
    if reads:
        last = [layer for layer in model.decoder.modules() if isinstance(layer, torch.nn.Conv2d)]
        tokens, pixels = torch.randint(0, 64, (1, 17, 20)), torch.full((1, 3, *SIZE[::-1]), 150)
        with torch.no_grad():
            found = model(tokens, pixels.to(torch.uint8), SIZE[::-1])
            last[-1].bias -= found.mean(dim=(0, 2, 3))
    names, tokenizer = ("tuft", "capsule"), "0" * 64 if reads else None
    card = ModelCard("m1", options, names, 0.5, SIZE, tokenizer, 16, mode, "fp32", {})
    save_segmenter(model.state_dict(), card, path)


def words(folder: Path, table: Path, segmenter: str = "m1", split: str = "test") -> list[str]:
    return [
        "token_value",
        "--segmenter",
        str(folder / f"{segmenter}.safetensors"),
        "--sheet",
        str(folder / "slides.tsv"),
        "--results",
        str(folder / "results"),
        "--split",
        split,
        "--classes",
        CLASSES,
        "--table",
        str(table),
    ]


def expected(folder: Path, name: str, condition: str) -> np.ndarray:
    """Dice of both classes, of the network applied to the whole slide."""
    results = Results(folder / "results")
    record, token_map = SlideRecord.read(results.record(name)), load_token_map(results.tokens(name))
    foreground = load_foreground(results.foreground(name), record)
    if condition == "shuffled":
        where = tissue_tokens(foreground.mask, foreground.cell, SIZE, 16)
        token_map = shuffled(token_map, where)
    whole = Tile(0, 0, *SIZE)
    tokens = torch.from_numpy(tile_tokens(token_map, whole))
    if condition == "left out":
        tokens = torch.full_like(tokens, -1)
    rgb = Tissue(record.open(folder / f"{name}.tif"), record.scale, foreground).read(whole)
    model, _, _ = load_segmenter(folder / "m1.safetensors")
    pixels = torch.from_numpy(rgb.transpose(2, 0, 1).copy())
    with torch.no_grad():
        found = (model(tokens[None], pixels[None], SIZE[::-1])[0] > 0).numpy()
    truth = np.array(Image.open(folder / f"{name}.png"))
    true = np.stack([truth == 1, truth == 2])
    return 2 * (found & true).sum((1, 2)) / (found.sum((1, 2)) + true.sum((1, 2)))


def test_the_table_holds_the_dice_of_every_slide_in_each_condition(folder, tmp_path):
    assert cli.main(words(folder, tmp_path / "table.tsv")) == 0
    table = read_table(tmp_path / "table.tsv")
    assert list(table.columns) == COLUMNS
    assert list(table["slide"]) == ["e1"] * 3 + ["e2"] * 3
    assert list(table["condition"]) == 2 * CONDITIONS
    assert set(table["tiles"]) == {1}
    for row in table.to_dict("records"):
        tuft, capsule = expected(folder, row["slide"], row["condition"])
        assert row["dice tuft"] == pytest.approx(tuft, abs=2e-4)
        if row["slide"] == "e2":
            assert np.isnan(row["dice capsule"])
            assert row["dice mean"] == row["dice tuft"]
        else:
            assert row["dice capsule"] == pytest.approx(capsule, abs=2e-4)
            assert row["dice mean"] == pytest.approx((tuft + capsule) / 2, abs=2e-4)
    assert table["dice tuft"].nunique() == 6


def test_torch_is_imported_for_the_conversion_only_and_threads_alter_nothing(folder, tmp_path):
    assert cli.main(words(folder, tmp_path / "first.tsv")) == 0
    assert (folder / "m1.openvino").exists()
    own = [*words(folder, tmp_path / "second.tsv"), "--threads", "3"]
    run_without_torch(own)
    assert (tmp_path / "second.tsv").read_bytes() == (tmp_path / "first.tsv").read_bytes()


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        (UnetModel(channels=(4, 8), tile=(96, 80)), "frozen"),
        (HolohistoModel(size="T"), "online"),
    ],
)
def test_a_model_without_token_maps_has_an_empty_table(folder, tmp_path, options, mode):
    write_segmenter(folder / "other.safetensors", options, mode)
    assert cli.main(words(folder, tmp_path / "table.tsv", "other")) == 0
    assert list(pd.read_csv(tmp_path / "table.tsv", sep="\t").columns) == COLUMNS
    assert read_table(tmp_path / "table.tsv").empty


def test_tokens_of_another_tokenizer_are_refused(folder, tmp_path, capsys):
    path = Results(folder / "results").tokens("e1")
    before = path.read_bytes()
    own = load_token_map(path)
    mine = replace(own, tokenizer="1" * 64)
    save_token_map(mine, path)
    assert cli.main(words(folder, tmp_path / "table.tsv")) == 2
    path.write_bytes(before)
    assert "token map is of another tokenizer" in capsys.readouterr().err
    assert not (tmp_path / "table.tsv").exists()


def test_a_split_without_annotated_slides_has_an_empty_table(folder, tmp_path):
    assert cli.main(words(folder, tmp_path / "table.tsv", split="val")) == 0
    assert read_table(tmp_path / "table.tsv").empty
