"""Training that starts from a segmenter: which weights it has, and which files are refused."""

import pytest
import torch
from starter_files import segmenter_of, write_segmenter

from holohisto.config.models import UnetModel
from holohisto.config.parsing import parse_config
from holohisto.errors import HolohistoError
from holohisto.segmenter.card import load_card, load_weights
from holohisto.segmenter.file import build_segmenter
from holohisto.segmenter.start import Cohort, start

TOKENIZER = "4" * 64
COHORT = Cohort(("glomerulus",), 0.5, TOKENIZER)
SIZE = (133, 171)


@pytest.fixture(params=["rgb", "tokens"])
def given(request, tmp_path):
    """A segmenter of one class, its options, and its file."""
    model, options = segmenter_of(7, 1, decoder=request.param)
    path = tmp_path / "mine.safetensors"
    write_segmenter(path, model, options, ["glomerulus"], TOKENIZER)
    return model, options.model_copy(update={"pretrained": path}), path


def logits(model):
    """Logits of a tile without the shift of the prior."""
    torch.manual_seed(1)
    tokens = torch.randint(0, 32, (1, 9, 11))
    rgb = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    model.prior.shift.zero_()
    with torch.no_grad():
        return model.eval()(tokens, rgb, SIZE)[0]


def test_with_the_same_classes_all_weights_are_those_of_the_file(given):
    old, options, path = given
    new, _ = segmenter_of(8, 1, decoder=options.decoder)
    prior = new.prior.shift.clone()
    assert start(new, options, COHORT) == {
        "pretrained": "pretrained: mine.safetensors",
        "pretrained_digest": load_weights(path)[2],
    }
    for name, value in new.state_dict().items():
        expected = prior if name == "prior.shift" else old.state_dict()[name]
        assert torch.equal(value, expected), name
    assert torch.equal(logits(new), logits(old))


def test_a_class_of_the_file_keeps_its_channels_and_a_new_one_is_random(given):
    old, options, _ = given
    new, _ = segmenter_of(8, 2, decoder=options.decoder)
    head = {n: v.clone() for n, v in new.state_dict().items() if n.startswith("decoder.head")}
    start(new, options, Cohort(("tuft", "glomerulus"), 0.5, TOKENIZER))
    found = logits(new)
    torch.testing.assert_close(found[1], logits(old)[0], rtol=1e-5, atol=1e-5)
    assert (found[0] - found[1]).abs().max() > 0.1
    last = [n for n in head if n.endswith("bias") and len(head[n]) in (2, 32)][-1]
    half = len(head[last]) // 2
    assert torch.equal(new.state_dict()[last][:half], head[last][:half])
    assert torch.equal(new.state_dict()[last][half:], old.state_dict()[last])


def test_without_a_file_it_starts_from_scratch():
    model, options = segmenter_of(8, 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert start(model, options, COHORT) == {"pretrained": "scratch"}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "cohort", "words"),
    [
        ({"size": "S"}, {}, r"another size \(found T; allowed S\); set the model's `size: T`"),
        ({"attention": "softmax"}, {}, r"another attention \(found relu; allowed softmax\)"),
        ({"decoder": "tokens"}, {}, r"another decoder \(found rgb; allowed tokens\)"),
        ({"embedding": "linear"}, {"tokenizer": None}, r"embedding \(found tokens; allowed linear"),
        ({}, {"mpp": 0.25}, r"another resolution \(found 0.5 um/px, here 0.25 um/px\)"),
        ({}, {"tokenizer": "5" * 64}, r"another tokenizer \(found 5{12}; allowed 4{12}\); set tok"),
    ],
)
def test_what_does_not_suit_is_refused_in_one_line(options, cohort, words, tmp_path):
    old, made = segmenter_of(7, 1)
    path = tmp_path / "mine.safetensors"
    write_segmenter(path, old, made, ["glomerulus"], TOKENIZER)
    new, wanted = segmenter_of(8, 1, **options)
    before = {name: value.clone() for name, value in new.state_dict().items()}
    facts = {"classes": ("glomerulus",), "mpp": 0.5, "tokenizer": TOKENIZER} | cohort
    with pytest.raises(HolohistoError, match=words) as caught:
        start(new, wanted.model_copy(update={"pretrained": path}), Cohort(**facts))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in new.state_dict().items())


def test_a_network_over_pixels_is_no_start(tmp_path):
    options = UnetModel(channels=(4, 8))
    path = tmp_path / "unet.safetensors"
    write_segmenter(path, build_segmenter(options, None, 1, 1), options, ["glomerulus"], None)
    new, wanted = segmenter_of(8, 1)
    with pytest.raises(HolohistoError, match=r"another kind \(found unet; allowed holohisto\)"):
        start(new, wanted.model_copy(update={"pretrained": path}), COHORT)


def test_a_damaged_file_is_refused(given):
    _, options, path = given
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    new, _ = segmenter_of(8, 1, decoder=options.decoder)
    with pytest.raises(HolohistoError, match="do not match its digest"):
        start(new, options, COHORT)
    assert load_card(path).classes == ("glomerulus",)  # of which the header alone is read


def test_a_trained_segmenter_and_a_start_exclude_each_other():
    entry = {"kind": "holohisto", "weights": "a.safetensors", "pretrained": "b.safetensors"}
    with pytest.raises(HolohistoError, match=r"models\.a: has both `weights`"):
        parse_config({"models": {"a": entry}})
