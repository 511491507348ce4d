"""The verb tokenizer with a checkpoint, and the tiles that it reads."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import (
    Evil,
    Published,
    write_openmuse,
    write_taming,
)
from safetensors import safe_open

from holohisto import cli
from holohisto.errors import HolohistoError
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.results import Results
from holohisto.tiles.appearance import Strength
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.file import load_tokenizer, save_tokenizer, tokenizer_digest
from holohisto.tokenizer.published import load
from holohisto.tokenizer.tissue_tiles import TissueTiles, training_tissue
from holohisto.tokens.encoders import encoder_for

SMALL = {"ch_mult": [1, 1, 1, 1, 1], "num_res_blocks": 1}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A folder with one slide, checked and with its foreground, and a sheet for each split."""
    folder = tmp_path_factory.mktemp("cohort")
    y, x = np.mgrid[:530, :700]
    rgb = np.full((530, 700, 3), 244, np.uint8)
    rgb[((x - 350) / 280) ** 2 + ((y - 265) / 210) ** 2 < 1] = (214, 140, 190)
    rgb[(x // 12 + y // 12) % 3 == 0] = (150, 80, 140)
    write_slide_pyramid(folder / "a.tif", rgb, 0.5)
    results = Results(folder)
    for split in ("train", "predict"):
        row = f"a\t{folder / 'a.tif'}\t{split}\t{folder / 'a.tif' if split == 'train' else ''}\n"
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
    options = {"checkpoint": str(checkpoint), "tile": 64, "calibration_tiles": 3}
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
    )
    with safe_open(folder / "t.safetensors", framework="pt") as file:
        return load_tokenizer(folder / "t.safetensors"), file.metadata()


def test_a_local_tokenizer_is_frozen_at_the_statistics_of_training_tissue(cohort, tmp_path):
    given = write_openmuse(tmp_path / "given", Published(**SMALL))
    model, header = tokenizer_of(cohort, tmp_path, given)
    assert model.calibrated
    assert all(norm.frozen for norm in model.norms)
    assert model.architecture.pixel_range == "0..1"
    summary = json.loads(header["summary"])
    assert summary["origin"] == "checkpoint given"
    assert 0 < summary["frozen_native_agreement"] <= 1
    source = TissueTiles(training_tissue(cohort / "train.tsv", Results(cohort)))
    tiles = torch.from_numpy(np.stack([source.tile(n, 64, 0) for n in range(3)]))
    features = model.encoder.conv_in(model.pixels(tiles.permute(0, 3, 1, 2))).double()
    statistics = torch.var_mean(features, dim=(0, 2, 3), correction=0)  # 32 channels, 32 groups
    torch.testing.assert_close(model.norms[0].variance.double(), statistics[0])
    torch.testing.assert_close(model.norms[0].mean.double(), statistics[1])


def test_training_tiles_have_appearances_of_their_own(cohort):
    source = TissueTiles(training_tissue(cohort / "train.tsv", Results(cohort)))
    strength = Strength(0.5, 0.2, 0.0)
    plain = [source.tile(n, 64, 0) for n in range(6)]
    changed = [source.tile(n, 64, 0, strength) for n in range(6)]
    for n in range(6):
        assert np.array_equal(changed[n], source.tile(n, 64, 0, strength))
        colours = np.unique(plain[n].reshape(-1, 3), axis=0)
        masks = [(plain[n] == colour).all(axis=2) for colour in colours]
        recoloured = [np.unique(changed[n][mask], axis=0) for mask in masks]
        assert all(len(colour) == 1 for colour in recoloured)  # other colours at the same pixels
    difference = [np.abs(a.astype(int) - b).max() for a, b in zip(plain, changed, strict=True)]
    assert min(difference) > 3
    assert len(set(difference)) > 1


def test_a_tokenizer_with_attention_stays_native(cohort, tmp_path):
    network = Published(attention=True, **SMALL, attn_resolutions=[16])
    given = write_taming(tmp_path / "given", network)
    model, header = tokenizer_of(cohort, tmp_path, given)
    assert not model.calibrated
    assert not any(norm.frozen for norm in model.norms)
    assert "frozen_native_agreement" not in json.loads(header["summary"])


def test_without_training_slides_it_stays_native_until_there_are_some(cohort, tmp_path):
    given = write_openmuse(tmp_path / "given", Published(**SMALL))
    native, _ = tokenizer_of(cohort, tmp_path, given, split="predict")
    assert not native.calibrated
    (tmp_path / "later").mkdir()
    later, _ = tokenizer_of(cohort, tmp_path / "later", tmp_path / "t.safetensors")
    assert later.calibrated
    again, _ = tokenizer_of(cohort, tmp_path, tmp_path / "later" / "t.safetensors", "predict")
    assert tokenizer_digest(again) == tokenizer_digest(later)


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


def test_the_tokenizer_file_records_whether_it_is_calibrated(plain, x, tmp_path):
    model = load.read(write_openmuse(tmp_path / "a", plain))
    save_tokenizer(model, tmp_path / "native.safetensors", {})
    rgb = ((x + 1) * 127.5).byte()
    calibrate(model, [rgb[0].permute(1, 2, 0).numpy()], 1e-3)
    save_tokenizer(model, tmp_path / "frozen.safetensors", {})
    native, frozen = (
        load_tokenizer(tmp_path / f"{name}.safetensors") for name in ("native", "frozen")
    )
    assert (native.calibrated, frozen.calibrated) == (False, True)
    assert not any(norm.frozen for norm in native.norms)
    assert all(norm.frozen for norm in frozen.norms)
    assert tokenizer_digest(native) != tokenizer_digest(frozen)
    with pytest.raises(HolohistoError, match=r"calibrated.*found one never calibrated"):
        encoder_for(native, "frozen")
    encoder_for(native, "window")
    encoder_for(frozen, "frozen")
    assert torch.equal(frozen.latents(x), model.latents(x))
    assert not torch.equal(native.latents(x[..., :40]), frozen.latents(x[..., :40]))
