"""What must be the same on a CUDA device as on a CPU."""

import copy

import numpy as np
import pytest
import torch
from attention_accuracy import require_close_at_35344_tokens
from baseline_networks import KINDS, TILE, built, pixels
from lightning_fabric import Fabric
from training_runs import OPTIONS, numbers, run, trainer

from holohisto.config.models import HolohistoModel
from holohisto.infer.clock import Clock
from holohisto.infer.job import Job, Speed
from holohisto.infer.pipeline import blended_bands
from holohisto.infer.predictor import TileInputs
from holohisto.infer.torch_engine import TorchPredictor
from holohisto.segmenter.file import build_segmenter
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.encode import Encoding, encode
from holohisto.tokens.encoders import LocalEncoder
from holohisto.training.loss import dice_bce, pixel_sums

pytestmark = pytest.mark.gpu
SIZE = (611, 443)
FOUR_K = (2160, 3840)


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
    model = VQGAN(
        Architecture(
            channels=32,
            multipliers=(1, 2, 2, 2, 2),
            residual_blocks=1,
            codebook=64,
            dimension=3,
            levels=(4, 4, 4),
        )
    )
    model.eval().requires_grad_(False)
    calibrate(model, [picture[:160, :192], picture[200:360, 300:492]])
    encoding = Encoding(SIZE, np.ones((28, 39), bool), background=0)
    found = {
        device: encode(reader(picture), encoding, LocalEncoder(model.to(device)), block=256).tokens
        for device in ("cpu", "cuda")
    }
    assert (found["cpu"] == found["cuda"]).mean() > 0.999


def test_probabilities_on_both_devices(picture):
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="T"), torch.randn(64, 8), 16, 2).eval()
    some = np.random.default_rng(1).integers(0, 64, (28, 39))
    read_pixels = reader(picture)

    def read(tile):
        rows, columns = tile.y // 16, tile.x // 16
        height, width = tile.height // 16, tile.width // 16
        part = np.zeros((height, width), np.int64)
        found = some[rows : rows + height, columns : columns + width]
        part[: found.shape[0], : found.shape[1]] = found
        return TileInputs(part, read_pixels(tile))

    job = Job(SIZE, (256, 192), 0.25, lambda tile: True, 16, 2)
    found = {}
    for device in ("cpu", "cuda"):
        predictor = TorchPredictor(model.to(device))
        bands = blended_bands(predictor, read, job, Speed(), Clock(predictor.on_gpu))
        found[device] = torch.cat([band.cpu().clone() for band, _ in bands], dim=1)
    assert (found["cpu"] - found["cuda"]).abs().max() < 0.05  # bf16 on the GPU


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attention_is_finite_and_close_at_35344_tokens_under_autocast(dtype):
    require_close_at_35344_tokens(dtype, "cuda")


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_network_of_table_1_on_both_devices(kind):
    model = built(kind)
    rgb = pixels(TILE[1], TILE[0])
    expected = model(None, rgb, size=(TILE[1], TILE[0]))
    with torch.autocast("cuda", torch.bfloat16):
        found = model.cuda()(None, rgb.cuda(), size=(TILE[1], TILE[0])).float().cpu()
    assert (found - expected).norm() / expected.norm() < 5e-2


def trained(accelerator, folder, validations=None):
    """Rows of a training with four validations, or of its first ones."""
    options = OPTIONS.model_copy(update={"steps": 168, "validate_every": 42, "token_dropout": 0.0})
    precision = "bf16-mixed" if accelerator == "cuda" else None
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    folder.mkdir(exist_ok=True)
    return numbers(run(trainer(options, fabric=fabric), folder, validations))


def test_training_on_both_devices_and_resumed(tmp_path):
    expected = trained("cpu", tmp_path / "cpu")
    found = trained("cuda", tmp_path / "cuda")
    first = trained("cuda", tmp_path / "resumed", validations=2)
    again = trained("cuda", tmp_path / "resumed")
    assert again[:2] == first
    for rows in (expected, found, again):
        assert [row[0] for row in rows] == [row[0] for row in expected]
        assert rows[0][1] == pytest.approx(expected[0][1], rel=0.05)
        assert rows[-1][1] < 0.7 * rows[0][1]


def test_size_b_trains_on_a_4k_tile_in_24_gb():
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="B"), torch.randn(1024, 256), 16, 6).cuda()
    average = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    rows, columns = (side // 16 for side in FOUR_K)
    some = torch.randint(0, 1024, (1, rows, columns), device="cuda")
    rgb = torch.randint(0, 256, (1, 3, *FOUR_K), dtype=torch.uint8, device="cuda")
    target = torch.rand(1, 6, *FOUR_K, device="cuda") < 0.1
    peak = {}
    for checkpointing in (False, True):
        model.backbone.activation_checkpointing = checkpointing
        torch.cuda.reset_peak_memory_stats()
        for _ in range(2):  # the optimiser's state is there in the second
            optimiser.zero_grad()
            with torch.autocast("cuda", torch.bfloat16):
                loss = dice_bce(
                    pixel_sums(model(some, rgb, size=FOUR_K), target, torch.ones_like(target))
                )
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 0.01)
        assert torch.isfinite(loss)
        peak[checkpointing] = torch.cuda.max_memory_allocated()
    print(
        "GB at most, without and with activation checkpointing:",
        [round(peak[k] / 1e9, 2) for k in peak],
    )
    assert peak[True] < peak[False]
    assert peak[True] < 24e9
