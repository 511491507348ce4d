"""Networks at a lower magnification, and binary networks for each class."""

import pytest
import torch
from baseline_networks import KINDS, TOYS, built, pixels
from torch.nn import functional

from holohisto.segmenter.baselines.pixels import OnePerClass
from holohisto.segmenter.baselines.pretrained import start
from holohisto.segmenter.convert import convert


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_reduced_tile_is_what_the_network_sees(kind):
    """Logits are those of the area means, enlarged; any side is accepted."""
    model = built(kind, reduction=2, tile=(192, 128))
    rgb = pixels(128, 192, batch=2)
    seen = []
    model.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    out = model(None, rgb, (128, 192))
    assert out.shape == (2, 2, 128, 192)
    height, width = model.sides.of(128, 192)
    wide = functional.pad(rgb, (0, width - 192, 0, height - 128), value=255).float()
    expected = functional.avg_pool2d((wide - model.mean) / model.spread, 2)
    torch.testing.assert_close(seen[0], expected, rtol=1e-5, atol=1e-5)
    assert model(None, pixels(101, 77), (101, 77)).shape == (1, 2, 101, 77)


def test_networks_of_one_size_have_it_after_the_reduction():
    model = built("unetr", reduction=4, tile=(384, 256))
    assert model.sides.fixed == (384, 256)
    assert model.networks[0].vit.patch_embedding.n_patches == (96 // 16) * (64 // 16)
    assert model.tile == (384, 256)


@pytest.mark.parametrize("kind", ["unet", "sam_vit_b"])
def test_each_class_has_a_network_of_its_own(kind):
    """The loss of a class reaches its own network alone."""
    model, rgb = built(kind, classes=3, per_class=True).train(), pixels(64, 96, batch=2)
    assert isinstance(model.network, OnePerClass)
    assert len(model.networks) == 3
    model(None, rgb, (64, 96))[:, 1].square().mean().backward()
    moved = [
        any(p.grad is not None and p.grad.any() for p in n.parameters()) for n in model.networks
    ]
    assert moved == [False, True, False]
    model.eval()
    single = built(kind, classes=1)
    single.network.load_state_dict(model.networks[2].state_dict())
    with torch.no_grad():
        torch.testing.assert_close(
            model(None, rgb, (64, 96))[:, 2:], single(None, rgb, (64, 96)), rtol=1e-5, atol=1e-6
        )


def test_all_networks_start_from_the_pretrained_backbone(tmp_path):
    backbone = built("sam_vit_b", classes=1).network.encoder.vision_encoder
    path = tmp_path / "sam.pth"
    state = {f"vision_encoder.{name}": value + 0.5 for name, value in backbone.state_dict().items()}
    torch.save(state, path)
    model = built("sam_vit_b", classes=2, per_class=True)
    options = TOYS["sam_vit_b"].model_copy(update={"per_class": True, "pretrained": path})
    assert start(model, options) == "pretrained: sam.pth"
    for network in model.networks:
        for name, value in network.encoder.vision_encoder.state_dict().items():
            assert torch.equal(value, state[f"vision_encoder.{name}"])


@torch.no_grad()
def test_both_are_computed_alike_by_openvino():
    openvino = pytest.importorskip("openvino")
    model = built("unet", classes=2, per_class=True, reduction=2)
    rgb = pixels(64, 96)
    converted = convert(model)
    network = openvino.Core().read_model(converted.xml, converted.weights)
    compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = torch.from_numpy(compiled([rgb.permute(0, 2, 3, 1).numpy()])[0])
    torch.testing.assert_close(found, model.accepted(None, rgb).sigmoid(), rtol=1e-3, atol=1e-4)
