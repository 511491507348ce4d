"""Stitching a large picture from tiles beside MONAI's sliding_window_inference.

Same tiles (1024 x 1024, overlap 0.25), same Gaussian weights, same network: one 3x3 convolution to
one class, so that stitching is most of the work. Ours reads tile by tile from a function and
returns labels band by band; MONAI takes the whole picture as a float tensor and returns all
probabilities, which are then compared with the threshold.
"""

import numpy as np
import race
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from holohisto.infer.job import Job, Speed
from holohisto.infer.pipeline import finished_bands
from holohisto.infer.predictor import TileInputs
from holohisto.infer.torch_engine import TorchPredictor
from holohisto.tiles.grid import Tile

SIDES = (4096, 8192, 16384)
TILE, OVERLAP = 1024, 0.25


class Tiny(nn.Module):
    """One convolution."""

    needs_tokens, needs_pixels, downscale = False, True, 16

    def __init__(self) -> None:
        """Fixed weights."""
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 1, 3, padding=1).requires_grad_(False)
        self.register_buffer("nothing", torch.zeros(1))

    def forward(self, tokens: None, rgb: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """(B, 3, H, W) uint8 -> (B, 1, H, W)."""
        return self.layer(rgb.float() / 255 - 0.5)


def tile_of(y: int, x: int, height: int, width: int) -> np.ndarray:
    """Pixels as a function of their position, so that no picture is held in memory."""
    rows, columns = np.arange(y, y + height), np.arange(x, x + width)
    grey = ((rows[:, None] * 7) ^ (columns[None] * 3)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def build(side: int) -> race.Contenders:
    """Ours and MONAI at one size."""
    model = Tiny().eval()

    def ours() -> int:
        job = Job((side, side), (TILE, TILE), OVERLAP, lambda tile: True, 16, 1)

        def read(tile: Tile) -> TileInputs:
            return TileInputs(None, tile_of(tile.y, tile.x, tile.height, tile.width))

        bands = finished_bands(TorchPredictor(model), read, job, Speed(readers=1))
        return sum(int(band.labels.sum()) for band in bands)

    def monai() -> int:
        rgb = torch.from_numpy(tile_of(0, 0, side, side)).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            probability = sliding_window_inference(
                rgb,
                (TILE, TILE),
                1,
                lambda x: model(None, x, None).sigmoid(),
                overlap=OVERLAP,
                mode="gaussian",
            )
        return int((probability >= 0.5).to(torch.uint8).sum())

    return {"ours": ours, "MONAI": monai}


if __name__ == "__main__":
    parser = race.options(__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    arguments = parser.parse_args()
    races = {f"{side} x {side}": lambda _, side=side: build(side) for side in arguments.sides}
    results = race.run(races, arguments)
    missed = [
        f"{name}: at least as fast"
        for name, result in results.items()
        if result["ours"].best > race.TOLERANCE * result["MONAI"].best
    ]
    race.verdict(missed)
