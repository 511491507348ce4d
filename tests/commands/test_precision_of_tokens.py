"""The precision of the tokens, from the verb tokens over train to infer and segment."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_cohort import CONFIG, make_folder, write_slide

from holohisto import cli
from holohisto.config.parsing import parse_config
from holohisto.config.steps import as_json
from holohisto.segmenter.file import load_segmenter
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.file import save_tokenizer
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.token_map import load_token_map

SHORT = {"tile": [256, 192], "steps": 3, "batch": 2}


def verb(*words) -> int:
    return cli.main([str(word) for word in words])


def sections(**tokens):
    return as_json(parse_config(CONFIG | {"tokens": tokens, "train": SHORT}))


def encode(slide, **tokens) -> None:
    options = sections(**tokens)["tokens_single_variant"]
    made = ["--tokens", f"results/tokens/{slide}.safetensors"]
    made += ["--quality", f"results/tokens/{slide}.json"]
    made += ["--picture", f"results/tokens/{slide}.jpg", "--options", options]
    given = ["--record", f"results/check/{slide}.json"]
    given += ["--foreground", f"results/foreground/{slide}.tif"]
    given += ["--tokenizer", "results/tokenizer/tokenizer.safetensors"]
    assert verb("tokens", f"slides/{slide}.tif", *given, *made) == 0


def train(**tokens) -> int:
    texts = sections(**tokens)
    words = ["--model", "m", "--sheet", "config/slides.tsv", "--segmenter", "m.safetensors"]
    words += ["--model-options", json.dumps(CONFIG["models"]["holohisto"]), "--table", "m.tsv"]
    words += ["--tokens-options", texts["train_tokens"], "--options", texts["train"]]
    return verb("train", *words, "--classes", texts["values"])


def infer(slide, out) -> int:
    words = ["--record", f"results/check/{slide}.json", "--segmenter", "m.safetensors"]
    words += ["--foreground", f"results/foreground/{slide}.tif"]
    words += ["--tokens", f"results/tokens/{slide}.safetensors"]
    words += ["--tokenizer", "results/tokenizer/tokenizer.safetensors"]
    words += ["--options", sections()["infer"], "--labels", f"{out}/labels.tif"]
    return verb("infer", f"slides/{slide}.tif", *words, "--probability", f"{out}/probability.tif")


def refusal(capsys) -> str:
    """The only line with an error."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "ERROR" in line]
    return line.split("ERROR ")[1]


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """Three slides as far as rule foreground, and a tokenizer."""
    make_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    for seed, slide in enumerate(("t1", "v1", "e1")):
        write_slide(tmp_path, slide, seed)
        record = f"results/check/{slide}.json"
        assert verb("check", f"slides/{slide}.tif", "--slide", slide, "--output", record) == 0
        made = ["--foreground", f"results/foreground/{slide}.tif"]
        made += ["--picture", f"results/foreground/{slide}.jpg", "--record", record]
        assert verb("foreground", f"slides/{slide}.tif", *made) == 0
    lines = Path("config/slides.tsv").read_text().splitlines()
    kept = [line for line in lines if line.split("\t")[0] in ("slide", "t1", "v1", "e1")]
    Path("config/slides.tsv").write_text("\n".join(kept) + "\n")
    torch.manual_seed(0)
    architecture = Architecture(
        channels=8, multipliers=(1, 1, 1, 1, 1), residual_blocks=1, codebook=64, dimension=8
    )
    tokenizer = VQGAN(architecture).eval().requires_grad_(False)
    save_tokenizer(tokenizer, Path("results/tokenizer/tokenizer.safetensors"), {})
    return tmp_path


def test_a_segmenter_keeps_the_precision_of_its_maps_and_refuses_another(cohort, capsys):
    for slide in ("t1", "v1"):
        encode(slide, precision="bf16")
    encode("e1")  # auto, on a CPU
    assert json.loads(Path("results/tokens/t1.json").read_text())["precision"] == "bf16"
    assert load_token_map(Path("results/tokens/t1.safetensors")).precision == "bf16"
    assert train(precision="fp32") == 0  # the maps decide, not the configuration
    assert load_segmenter(Path("m.safetensors"))[1].precision == "bf16"
    capsys.readouterr()
    assert infer("e1", "wrong") == 2
    assert refusal(capsys) == (
        "results/tokens/e1.safetensors: token map is of another precision than the segmenter's, so"
        " its tokens differ (found fp32; allowed bf16); set tokens.precision: bf16, and compute the"
        " token map again (`auto` is bf16 on GPUs and fp32 on CPUs)"
    )
    assert not Path("wrong/labels.tif").exists()
    encode("e1", precision="bf16")
    assert infer("e1", "right") == 0
    assert_segment_computes_the_same_labels()


def assert_segment_computes_the_same_labels() -> None:
    """Encoded in the segmenter's precision, though `tokens.precision` is fp32 on this CPU."""
    Path("fp32.json").write_text(json.dumps({"tokens": {"precision": "fp32"}}))
    words = ["--model", "m.safetensors", "--output", "out", "--keep", "--config", "fp32.json"]
    words += ["--tokenizer", "results/tokenizer/tokenizer.safetensors"]
    assert verb("segment", "slides/e1.tif", *words) == 0
    found = load_token_map(Path("out/e1.work/tokens.safetensors"))
    wanted = load_token_map(Path("results/tokens/e1.safetensors"))
    assert found.precision == "bf16"
    np.testing.assert_array_equal(found.tokens[0], wanted.tokens[0])


def test_maps_of_two_precisions_are_not_learned_together(cohort, capsys):
    encode("t1", precision="bf16")
    encode("v1", precision="fp32")
    capsys.readouterr()
    assert train() == 2
    assert refusal(capsys) == (
        "train: the token maps of two slides are of different precisions (found slide t1 bf16,"
        " slide v1 fp32; allowed one precision); set tokens.precision to fp32 or bf16, and compute"
        " the token maps again (`auto` is bf16 on GPUs and fp32 on CPUs)"
    )
    assert not Path("m.safetensors").exists()


def test_online_the_configured_precision_is_kept_and_inferred_in(cohort, monkeypatch):
    assert train(mode="online", precision="bf16") == 0
    _, card, _ = load_segmenter(Path("m.safetensors"))
    assert (card.mode, card.precision) == ("online", "bf16")
    seen = set()
    latents = VQGAN.latents

    def watched(self, x):
        found = latents(self, x)
        seen.add((len(x), found.dtype))
        return found

    monkeypatch.setattr(VQGAN, "latents", watched)
    assert infer("e1", "online") == 0
    assert seen == {(1, torch.bfloat16)}
