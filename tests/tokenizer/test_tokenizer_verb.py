"""The verb tokenizer: a checkpoint, or training with and without annotations."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import (
    Evil,
    Published,
    write_openmuse,
    write_taming,
)
from PIL import Image
from safetensors import safe_open

from holohisto import cli
from holohisto.errors import HolohistoError
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.results import Results
from holohisto.tokenizer import tissue_tiles
from holohisto.tokenizer.file import load_tokenizer, tokenizer_digest
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.published import load
from holohisto.tokens.encoders import encoder_for

SMALL = {"ch_mult": [1, 1, 1, 1, 1], "num_res_blocks": 1}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A folder with one slide, checked and with its foreground, and a sheet for each split."""
    folder = tmp_path_factory.mktemp("cohort")
    y, x = np.mgrid[:530, :700]
    rgb = np.full((530, 700, 3), 244, np.uint8)
    rgb[((x - 350) / 280) ** 2 + ((y - 265) / 210) ** 2 < 1] = (214, 140, 190)
    dark = (x // 12 + y // 12) % 3 == 0
    rgb[dark] = (150, 80, 140)
    write_slide_pyramid(folder / "a.tif", rgb, 0.5)
    Image.fromarray(dark).save(folder / "a.png")
    results = Results(folder)
    for split in ("train", "predict"):
        row = f"a\t{folder / 'a.tif'}\t{split}\t{folder / 'a.png' if split == 'train' else ''}\n"
        (folder / f"{split}.tsv").write_text("slide\timage\tsplit\tannotation\n" + row)
    verb(
        "check",
        folder / "a.tif",
        "--slide",
        "a",
        "--classes",
        '{"glomerulus": {}}',
        "--output",
        results.record("a"),
    )
    verb(
        "foreground",
        folder / "a.tif",
        "--record",
        results.record("a"),
        "--foreground",
        results.foreground("a"),
        "--picture",
        folder / "a.jpg",
    )
    return folder


def verb(*arguments: object) -> None:
    assert cli.main([str(argument) for argument in arguments]) == 0


def tokenizer_of(cohort: Path, folder: Path, checkpoint: Path, split: str = "train"):
    """What the verb `tokenizer` makes of a checkpoint, and the header of its file."""
    return run_verb(cohort, folder, {"checkpoint": str(checkpoint)}, split)


def run_verb(cohort: Path, folder: Path, options: dict, split: str = "train", **flags: object):
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    verb(
        "tokenizer",
        "--sheet",
        cohort / f"{split}.tsv",
        "--results",
        cohort,
        "--options",
        json.dumps(options),
        "--tokenizer",
        folder / "t.safetensors",
        "--table",
        folder / "t.tsv",
        "--picture",
        folder / "t.jpg",
        *words,
    )
    with safe_open(folder / "t.safetensors", framework="pt") as file:
        return load_tokenizer(folder / "t.safetensors"), file.metadata()


@pytest.mark.parametrize("split", ["train", "predict"])
def test_a_checkpoint_is_adopted_as_it_is_with_or_without_training_slides(cohort, tmp_path, split):
    given = write_openmuse(tmp_path / "given", Published(**SMALL))
    model, header = tokenizer_of(cohort, tmp_path, given, split)
    assert tokenizer_digest(model) == tokenizer_digest(load.read(given))
    assert model.architecture.pixel_range == "0..1"
    assert json.loads(header["summary"]) == {"origin": "checkpoint given"}
    assert (tmp_path / "t.tsv").read_text().splitlines()[1:] == []
    (tmp_path / "again").mkdir()
    again, _ = tokenizer_of(cohort, tmp_path / "again", tmp_path / "t.safetensors", split)
    assert tokenizer_digest(again) == tokenizer_digest(model)


def test_a_tokenizer_with_attention_is_for_windows(cohort, tmp_path):
    network = Published(attention=True, **SMALL, attn_resolutions=[16])
    model, _ = tokenizer_of(cohort, tmp_path, write_taming(tmp_path / "given", network))
    with pytest.raises(HolohistoError, match=r"tokens.mode.*allowed window, online"):
        encoder_for(model, "frozen")
    encoder_for(model, "window")


TINY = {
    "channels": 8,
    "multipliers": [1, 1, 1],
    "residual_blocks": 1,
    "levels": [4, 4],
    "tile": 64,
    "batch": 2,
    "steps": 2,
}
CLASSES = '{"glomerulus": {}}'


def columns(folder: Path) -> dict[str, list[str]]:
    header, *rows = (line.split("\t") for line in (folder / "t.tsv").read_text().splitlines())
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


def test_training_writes_the_tokenizer_its_table_and_summary(cohort, tmp_path):
    model, header = run_verb(cohort, tmp_path, TINY, classes=CLASSES)
    assert model.architecture.levels == (4, 4)
    assert all(norm.statistics is Statistics.NATIVE for norm in model.norms)
    table = columns(tmp_path)
    assert list(table) == [
        "step",
        "loss",
        "reconstruction",
        "annotation",
        "codes_used",
        "perplexity",
        "effective_rank",
        "kept",
        "psnr",
        "seconds",
    ]
    assert table["step"] == ["1", "2"]
    assert all(float(value) > 0 for value in table["annotation"])
    summary = json.loads(header["summary"])
    assert (summary["origin"], summary["steps"], summary["step"]) == ("trained on the cohort", 2, 2)
    assert summary["kept"] == pytest.approx(float(table["kept"][-1]), abs=1e-4)
    assert (tmp_path / "t.jpg").stat().st_size > 1000


def test_weight_0_reads_no_annotation(cohort, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(tissue_tiles, "Annotation", lambda *facts: opened.append(facts))
    run_verb(cohort, tmp_path, TINY | {"annotation_weight": 0}, classes=CLASSES)
    assert opened == []
    assert all(value in ("", "nan") for value in columns(tmp_path)["annotation"])


def test_without_training_slides_there_is_nothing_to_train_on(cohort, tmp_path, capsys):
    words = ("tokenizer", "--sheet", cohort / "predict.tsv", "--results", cohort)
    words += ("--tokenizer", tmp_path / "t", "--table", tmp_path / "u", "--picture", tmp_path / "v")
    assert cli.main([str(word) for word in words]) == 2
    assert "no slide has the split train" in capsys.readouterr().err


def test_code_in_a_checkpoint_ends_the_verb_in_one_line(cohort, plain, tmp_path, capsys):
    marker = tmp_path / "marker"
    path = write_taming(tmp_path / "given", plain, records=Evil(os.system, f"touch {marker}"))
    options = json.dumps({"checkpoint": str(path)})
    arguments = [
        "tokenizer",
        "--sheet",
        cohort / "train.tsv",
        "--results",
        cohort,
        "--options",
        options,
        "--tokenizer",
        tmp_path / "t",
        "--table",
        tmp_path / "u",
        "--picture",
        tmp_path / "v",
    ]
    assert cli.main([str(argument) for argument in arguments]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if " ERROR " in line]
    assert len(errors) == 1
    assert "is refused: it asks for code" in errors[0]
    assert not marker.exists()
