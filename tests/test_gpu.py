"""What must be the same on a CUDA device as on a CPU."""

import numpy as np
import pytest
import torch

from holohisto import calibration, infer, tokens, vqgan
from holohisto.config import HolohistoModel
from holohisto.segmenter import store
from holohisto.segmenter.inputs import Inputs

pytestmark = pytest.mark.gpu
SIZE = (611, 443)


@pytest.fixture(scope="module")
def picture():
    small = np.random.default_rng(0).integers(0, 256, (56, 77, 3), dtype=np.uint8)
    return np.kron(small, np.ones((8, 8, 1), np.uint8))[: SIZE[1], : SIZE[0]]


def reader(rgb):
    def read(tile):
        out = np.full((tile.height, tile.width, 3), 240, np.uint8)
        y0, x0 = max(tile.y, 0), max(tile.x, 0)
        part = rgb[y0 : tile.y + tile.height, x0 : tile.x + tile.width]
        out[y0 - tile.y :, x0 - tile.x :][: part.shape[0], : part.shape[1]] = part
        return out

    return read


def test_tokens_on_both_devices(picture):
    torch.manual_seed(0)
    model = vqgan.VQGAN(
        vqgan.Architecture(
            channels=32, multipliers=(1, 2, 2, 2, 2), residual_blocks=1, codebook=64, dimension=8
        )
    )
    model.eval().requires_grad_(False)
    model.quantize.embedding.weight.normal_()
    calibration.calibrate(model, [picture[:160, :192]], 1e-3)
    needed = np.ones((28, 39), bool)
    found = {
        device: tokens.encode(
            reader(picture),
            SIZE,
            needed,
            tokens.LocalEncoder(model.to(device)),
            0,
            core=256,
        ).tokens
        for device in ("cpu", "cuda")
    }
    assert (found["cpu"] == found["cuda"]).mean() > 0.999


def test_probabilities_on_both_devices(picture):
    torch.manual_seed(0)
    model = store.build(HolohistoModel(size="T"), torch.randn(64, 8), 16, 2).eval()
    some = np.random.default_rng(1).integers(0, 64, (28, 39))
    read_pixels = reader(picture)

    def read(tile):
        rows, columns = tile.y // 16, tile.x // 16
        height, width = tile.height // 16, tile.width // 16
        part = np.zeros((height, width), np.int64)
        found = some[rows : rows + height, columns : columns + width]
        part[: found.shape[0], : found.shape[1]] = found
        return part, read_pixels(tile)

    job = infer.Job(SIZE, (256, 192), 0.25, lambda tile: True, 16)
    found = {}
    for device in ("cpu", "cuda"):
        on_device = model.to(device)
        bands = infer.probability_bands(on_device, Inputs(on_device, None), read, job, 2)
        found[device] = torch.cat([band.cpu().clone() for band in bands], dim=1)
    assert (found["cpu"] - found["cuda"]).abs().max() < 0.05  # bf16 on the GPU
