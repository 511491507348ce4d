"""The verbs that read a whole cohort, over three slides that are checked and have tokens."""

import json
from pathlib import Path

import numpy as np
from encoded_picture import tokenizer
from PIL import Image

from holohisto import cli
from holohisto.config.models import HolohistoModel
from holohisto.config.training import TokensOptions
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.results import Results
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, save_segmenter
from holohisto.slide.record import SlideRecord
from holohisto.slide.scale import Scale
from holohisto.tokenizer.file import save_tokenizer, tokenizer_digest
from holohisto.tokens.token_map import TokenMap, save_token_map

SIZE = (333, 251)
SPLITS = {"t1": "train", "v1": "val", "e1": "test"}
CLASSES = json.dumps({"a": {"values": [1]}})
MODEL = {"kind": "holohisto", "size": "T"}
TRAINING = {"tile": [96, 64], "steps": 6, "validate_every": 2, "batch": 2}
TOKENIZER = {"channels": 8, "multipliers": [1, 1, 1], "residual_blocks": 1, "levels": [4, 4]}
TOKENIZER |= {"tile": 64, "batch": 2, "steps": 2}


def verbs(folder: Path, disk: Path) -> dict[str, list[str]]:
    """Command lines that read from `folder` and write to `disk`."""
    results = prepared(folder)
    cohort = ["--sheet", f"{folder}/slides.tsv", "--results", str(folder)]
    cohort += ["--classes", CLASSES]
    given = ["--model", "m1", "--model-options", json.dumps(MODEL), *cohort, "--workers", "1"]
    made = {
        "tokenizer": [*cohort, "--options", json.dumps(TOKENIZER)],
        "train": [*given, "--options", json.dumps(TRAINING)],
        "token_value": [*cohort, "--segmenter", str(results.segmenter("m1"))],
        "report": [*cohort, "--logs", f"{folder}/logs", "--models", json.dumps({"m1": MODEL})],
        "demo": ["--scale", "0.1", "--slides", "2", "--workers", "1"],
        "init": ["folder", str(folder / "slides"), "--force"],
    }
    written = {
        "tokenizer": {"--tokenizer": "t.safetensors", "--table": "t.tsv", "--picture": "t.jpg"},
        "train": {"--segmenter": "m.safetensors", "--table": "m.tsv"},
        "token_value": {"--table": "v.tsv"},
        "report": {"--output": "report.html", "--provenance": "p.json", "--tables": "tables"},
        "demo": {"--output": "demo"},
        "init": {"--output": "slides.tsv"},
    }
    for verb, files in written.items():
        for option, name in files.items():
            made[verb] += [option, f"{disk}/{name}"]
    return {verb: [verb, *words] for verb, words in made.items()}


def prepared(folder: Path) -> Results:
    """Write slides, annotations, the sheet and what earlier verbs make of them."""
    results, rows = Results(folder), ["slide\timage\tannotation\tgroup\tsplit"]
    (folder / "slides").mkdir(parents=True)
    model = tokenizer(codebook=64, dimension=3, levels=(4, 4, 4))
    results.tokenizer.parent.mkdir()
    save_tokenizer(model, results.tokenizer, {})
    digest = tokenizer_digest(model)
    for seed, (slide, split) in enumerate(SPLITS.items()):
        image, annotation = written_slide(folder / "slides", slide, seed)
        rows.append(f"{slide}\t{image}\t{annotation}\tg\t{split}")
        encoded(results, slide, image, digest, seed)
    (folder / "slides.tsv").write_text("\n".join(rows) + "\n")
    options = HolohistoModel(size="T")
    network = build_segmenter(options, model.quantize.codes, 16, 1)
    facts = ("m1", options, ("a",), 0.5, (96, 64), digest, 16)
    card = ModelCard(*facts, "frozen", "fp32", {})
    results.segmenter("m1").parent.mkdir(parents=True)
    save_segmenter(network.state_dict(), card, results.segmenter("m1"))
    return results


def written_slide(folder: Path, slide: str, seed: int) -> tuple[Path, Path]:
    """Tissue with dark squares, which are the class, on glass."""
    random = np.random.default_rng(seed)
    squares = np.kron(random.random((8, 11)) < 0.3, np.ones((24, 24), bool))
    rgb = np.full((SIZE[1], SIZE[0], 3), 244, np.uint8)
    rgb[30:222, 30:294] = np.where(squares[..., None], (128, 60, 130), (214, 150, 190))
    rgb -= random.integers(0, 12, rgb.shape).astype(np.uint8)
    classes = np.zeros(rgb.shape[:2], np.uint8)
    classes[30:222, 30:294] = squares
    write_slide_pyramid(folder / f"{slide}.tif", rgb, 0.5)
    Image.fromarray(classes).save(folder / f"{slide}.png")
    return folder / f"{slide}.tif", folder / f"{slide}.png"


def encoded(results: Results, slide: str, image: Path, tokenizer: str, seed: int) -> None:
    """Run `check` and `foreground`, and write tokens drawn at random."""
    record, foreground = results.record(slide), results.foreground(slide)
    picture = ["--picture", results.foreground_picture(slide)]
    verb("check", image, "--slide", slide, "--output", record)
    verb("foreground", image, "--record", record, "--foreground", foreground, *picture)
    tokens = np.random.default_rng(seed).integers(0, 64, (16, 21)).astype(np.uint16)
    facts = (slide, SlideRecord.read(record).fingerprint, tokenizer, 16, (0,), "fp32")
    token_map = TokenMap([tokens], *facts, TokensOptions(), Scale.whole(1))
    save_token_map(token_map, results.tokens(slide))


def verb(*words: object) -> None:
    assert cli.main([str(word) for word in words]) == 0
