"""The networks over pixels: kinds, margins, normalisation, offline building."""

import json
import os
import subprocess
import sys

import pytest
import torch
from baseline_networks import KINDS, TOYS, built, pixels
from torch import nn

from holohisto.config.models import PixelOptions
from holohisto.segmenter.baselines.pixels import MEAN, SPREAD
from holohisto.segmenter.sides import Sides


def test_every_row_of_the_papers_table_is_a_kind():
    kinds = {arm.model_fields["kind"].default for arm in PixelOptions.__args__}
    assert kinds == set(TOYS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 96), (51, 77), (5, 7)])
@torch.no_grad()
def test_any_side_is_widened_with_background_and_the_logits_cut_back(kind, size):
    """Exactly what the network gives for the tile in the corner of a white one that it takes."""
    model, rgb = built(kind), pixels(*size)
    height, width = model.sides.of(*size)
    wide = torch.full((1, 3, height, width), 255, dtype=torch.uint8)
    wide[:, :, : size[0], : size[1]] = rgb
    out = model(None, rgb, size)
    assert out.shape == (1, 2, *size)
    assert torch.equal(out, model(None, wide, (height, width))[:, :, : size[0], : size[1]])
    if (height, width) != size:
        wide[:, :, size[0] :] = 0
        wide[:, :, :, size[1] :] = 0
        black = model(None, wide, (height, width))[:, :, : size[0], : size[1]]
        assert not torch.equal(out, black)  # the margin is seen


class Echo(nn.Module):
    """Gives back what it gets."""

    def forward(self, given):
        return given


def test_pixels_reach_the_network_normalised_and_in_place():
    model, rgb = built("unet", classes=3), pixels(51, 77, batch=2)
    model.network, model.sides = Echo(), Sides(32)
    out = model(None, rgb, (51, 77))
    shape = (1, 3, 1, 1)
    expected = (rgb / 255 - torch.tensor(MEAN).view(shape)) / torch.tensor(SPREAD).view(shape)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_coarse_logits_are_enlarged_over_the_whole_tile():
    class Columns(nn.Module):
        def forward(self, given):
            return torch.arange(given.shape[3] / 4).expand(1, 1, given.shape[2] // 4, -1)

    model = built("unet", classes=1)
    model.network, model.sides = Columns(), Sides(16)
    out = model(None, pixels(40, 70), (40, 70))  # widened to 48 x 80: 20 columns
    torch.testing.assert_close(out[0, 0, 20, 2:70], (torch.arange(2, 70) - 1.5) / 4)


@pytest.mark.parametrize(
    ("sides", "size", "expected"),
    [
        (Sides(32), (64, 96), (64, 96)),
        (Sides(32), (65, 1), (96, 64)),
        (Sides(1), (51, 77), (51, 77)),
        (Sides(fixed=(96, 64)), (10, 20), (64, 96)),
    ],
)
def test_sides_are_the_least_that_the_network_takes(sides, size, expected):
    assert sides.of(*size) == expected


def test_a_tile_larger_than_a_fixed_network_is_refused():
    with pytest.raises(ValueError, match="100 x 60 for a network of"):
        Sides(fixed=(96, 64)).of(60, 100)


OFFLINE = """
import socket, sys

def refuse(*arguments, **keywords):
    raise AssertionError(f"network: {arguments}")

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = refuse

from holohisto.config import models
from holohisto.segmenter.file import build_segmenter

heavy = ("monai", "transformers")
build_segmenter(models.ColourThresholdModel(), None, 1, 1)
assert not any(name in sys.modules for name in heavy), "loaded before it is needed"
for options in (
    models.UnetModel(channels=(4, 8)),
    models.DynunetModel(channels=(4, 8, 8)),
    models.UnetrModel(size="toy"),
    models.SwinunetrModel(channels=12),
    models.SegformerModel(size="toy"),
    models.DeeplabModel(size="toy"),
    models.SamBaseModel(size="toy"),
    models.SamHugeModel(size="toy"),
):
    build_segmenter(options, None, 1, 1)
print([name for name in ("torchvision", "timm") if name in sys.modules])
"""


def test_building_them_reaches_for_no_network_and_no_torchvision():
    proxies = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        capture_output=True,
        text=True,
        env={**os.environ, **proxies},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.replace("'", '"')) == []
