"""Whatever a step stores is checked when the next one reads it."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_slide import LabelledSlide
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from holohisto.config.models import ColourThresholdModel, UnetModel
from holohisto.config.training import TokensOptions
from holohisto.errors import LONGEST, HolohistoError
from holohisto.foreground.map import load_foreground
from holohisto.planning.resources import read_or_unseen, unseen
from holohisto.pyramid.raster import Raster
from holohisto.pyramid.write import write_rows
from holohisto.runtime.seal import read_sealed_json, sealed_header, sealed_json
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, load_segmenter, save_segmenter
from holohisto.slide.record import SlideRecord
from holohisto.slide.scale import Scale
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.file import load_tokenizer, save_tokenizer
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.token_map import TokenMap, load_token_map, save_token_map
from holohisto.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from holohisto.training.progress import Progress

MUTANTS = 60
ARCHITECTURE = {"channels": 8, "multipliers": (1, 2, 2), "residual_blocks": 1}
ARCHITECTURE |= {"codebook": 16, "dimension": 2, "levels": (4, 4)}


def card(**facts) -> ModelCard:
    given = {"name": "m", "options": ColourThresholdModel(), "classes": ("a",), "mpp": 0.5}
    given |= {"tile": (70, 50), "tokenizer": None, "downscale": 1, "mode": "frozen"}
    return ModelCard(**(given | {"precision": None, "summary": {}} | facts))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """One small file of each kind, and the function that reads it."""
    folder = tmp_path_factory.mktemp("stored")
    slide = LabelledSlide(folder, (130, 70), 1, 0.5)
    slide.write_labels(np.eye(70, 130, dtype=np.uint8), ["a"])
    slide.write_foreground(np.ones((5, 9), bool))
    save_tokenizer(VQGAN(Architecture(**ARCHITECTURE)), folder / "t.safetensors", {"origin": "x"})
    tokens = [np.arange(80, dtype=np.uint16).reshape(8, 10)]
    options = TokensOptions(orientations=1, appearances=0)
    token_map = TokenMap(
        tokens, "s1", "f" * 64, "0" * 64, 16, (0,), "fp32", options, Scale.whole(1)
    )
    save_token_map(token_map, folder / "map.safetensors")
    state = build_segmenter(ColourThresholdModel(), None, 1, 1).state_dict()
    save_segmenter(state, card(), folder / "m.safetensors")
    weights = {"w": torch.arange(500.0)}
    checkpoint = Checkpoint(Progress(), weights, weights, {"state": {}})
    save_checkpoint(folder / "c.ckpt", "identity", checkpoint)
    (folder / "scores.json").write_text(sealed_json({"slide": "s1", "classes": {"a": [0.25, 3]}}))
    return {
        slide.labels: lambda path: Raster(path, sealed=True),
        slide.foreground: load_foreground,
        slide.check: SlideRecord.read,
        folder / "t.safetensors": load_tokenizer,
        folder / "map.safetensors": load_token_map,
        folder / "m.safetensors": load_segmenter,
        folder / "c.ckpt": _resumed,
        folder / "scores.json": read_sealed_json,
    }


def _resumed(path: Path) -> Checkpoint:
    """A checkpoint that is not resumed is reported like the other files."""
    if (found := load_checkpoint(path, "identity")) is None:
        raise HolohistoError(path, "starting from scratch")
    return found


KINDS = ["labels.tif", "foreground.tif", "check.json", "t.safetensors", "map.safetensors"]
KINDS += ["m.safetensors", "c.ckpt", "scores.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_an_error_of_one_line_or_alters_nothing(stored, tmp_path, kind):
    """Bytes are changed, cut off or repeated at random places; the draw is the same every time."""
    path, read = next((path, read) for path, read in stored.items() if path.name == kind)
    whole, draw, refused = path.read_bytes(), random.Random(kind), 0
    sound = contents(read(path))
    for number in range(MUTANTS):
        mutant = tmp_path / f"{number}{path.suffix}"
        mutant.write_bytes(changed(whole, draw))
        try:
            found, problem = contents(read(mutant)), ""
        except HolohistoError as error:
            found, problem = sound, str(error)
        assert found == sound  # of a checkpoint, a byte of zip that holds no data may change
        assert len(problem) <= LONGEST
        assert problem.isprintable()
        refused += problem != ""
    assert refused >= (0.8 if kind == "c.ckpt" else 1) * MUTANTS


def changed(content: bytes, draw: random.Random) -> bytes:
    data, place = bytearray(content), draw.randrange(len(content))
    how = draw.choice(["flip", "flip", "flip", "cut", "zeros", "repeat"])
    if how == "flip":
        data[place] ^= 1 << draw.randrange(8)
    elif how == "cut":
        del data[place:]
    elif how == "zeros":
        end = min(len(data), place + 40)
        data[place:end] = bytes(b ^ 0xA5 for b in data[place:end])
    else:
        data[place:place] = data[place : place + 7] or b"\0"
    return bytes(data)


def contents(found: object) -> str:
    """What was read, as text that can be compared."""
    if isinstance(found, Checkpoint):
        state = {name: w.tolist() for name, w in (found.model | found.average).items()}
        return repr((vars(found.progress), state, found.optimiser))
    return repr(found)


def test_a_damaged_record_does_not_end_the_planning_of_the_cohort(stored, tmp_path):
    path = next(path for path in stored if path.name == "check.json")
    record = SlideRecord.read(path)
    for text in (b"\xff\xfe", b"[" * 100_000, b"[]", path.read_bytes().replace(b"130", b"131")):
        (tmp_path / "check.json").write_bytes(text)
        assert read_or_unseen(tmp_path / "check.json") == unseen()
    for key, value in (
        ("scale", ("0", "1")),
        ("scale", ("1e99999999", "1")),
        ("size", (0, 70)),
        ("mpp", 0.0),
        ("mpp", float("nan")),
    ):
        fields = record.model_dump() | {key: value}
        (tmp_path / "check.json").write_text(sealed_json(fields))
        assert read_or_unseen(tmp_path / "check.json") == unseen()


@pytest.mark.parametrize(
    "facts",
    [
        {"classes": ("/../../archive/slide1",)},
        {"classes": ("a\n",)},
        {"classes": ()},
        {"name": "../m"},
        {"mpp": 0.0},
        {"mpp": float("nan")},
        {"tile": (0, 0)},
        {"tile": (2**40, 64)},
        {"downscale": 0},
        {"mode": "other"},
    ],
)
def test_a_segmenter_whose_header_is_beyond_its_bounds_is_refused(stored, tmp_path, facts):
    """Also with a digest that fits: the file was made so."""
    path = tmp_path / "m.safetensors"
    source = next(path for path in stored if path.name == "m.safetensors")
    with safe_open(source, framework="pt") as file:
        header = {key: text for key, text in file.metadata().items() if key != "seal"}
    for key, value in facts.items():
        header[key] = value if isinstance(value, str) else json.dumps(value)
    save_file(load_file(source), path, metadata=sealed_header(header))
    with pytest.raises(HolohistoError, match="segmenter cannot be read: ") as caught:
        load_segmenter(path)
    assert "validation error" not in str(caught.value)


def test_a_small_file_does_not_build_a_large_network(tmp_path):
    options = UnetModel(channels=(4096,) * 10)
    save_segmenter({"w": torch.zeros(3)}, card(options=options), tmp_path / "m.safetensors")
    with pytest.raises(HolohistoError, match="fewer weights than its options need"):
        load_segmenter(tmp_path / "m.safetensors")


def test_a_tokenizer_with_the_weights_of_another_is_refused_before_it_is_built(tmp_path):
    model, path = VQGAN(Architecture(**ARCHITECTURE)), tmp_path / "t.safetensors"
    model.architecture = Architecture(**ARCHITECTURE | {"channels": 8192, "residual_blocks": 32})
    save_tokenizer(model, path, {})
    with pytest.raises(HolohistoError, match="weights of another architecture"):
        load_tokenizer(path)


@pytest.mark.parametrize(
    "facts",
    [
        {"channels": 0},
        {"channels": 9},
        {"multipliers": (1,)},
        {"multipliers": (1, 10**9)},
        {"residual_blocks": 10**6},
        {"levels": ()},
        {"norm_groups": 5},
        {"attention": (-1,)},
    ],
)
def test_an_architecture_that_cannot_be_built_is_refused(facts):
    with pytest.raises(ValueError, match="Architecture"):
        Architecture(**ARCHITECTURE | facts)


def test_a_tokenizer_of_three_levels_encodes_and_decodes():
    model = VQGAN(Architecture(**ARCHITECTURE)).eval()
    rgb = torch.randint(0, 256, (1, 3, 44, 52), dtype=torch.uint8)
    with torch.no_grad():
        tokens = model.tokens(rgb)
    assert tokens.shape[-2:] == (11, 13)


def test_a_header_of_20_megabytes_is_refused_unread(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes((20 * 2**20).to_bytes(8, "little") + b"{" + b" " * 2**20)
    for read in (load_segmenter, load_tokenizer, load_token_map):
        with pytest.raises(HolohistoError, match="its header is too long"):
            read(path)


def test_labels_made_by_hand_have_no_digest_and_are_refused(tmp_path):
    write_rows(tmp_path / "a.tif", [np.zeros((30, 50), np.uint8)], (50, 30), 0.5, {})
    shutil.copy(tmp_path / "a.tif", tmp_path / "b.tif")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: content.index(b"\nholohisto-seal")])
    with Raster(tmp_path / "b.tif", sealed=True), Raster(tmp_path / "a.tif"):
        pass
    with pytest.raises(HolohistoError, match="does not match its digest"):
        Raster(tmp_path / "a.tif", sealed=True)
