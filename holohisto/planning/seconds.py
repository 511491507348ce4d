"""Time of steps, from their work and from measured rates."""

import math
from dataclasses import dataclass

from holohisto.config.config import Config
from holohisto.config.models import HolohistoModel, ModelOptions, PixelModel
from holohisto.planning.work import decoder_work, encoder_work, segmenter_work
from holohisto.tiles.grid import positions

READ = 60e6
"""Level-0 pixels that one core reads in a second."""
PREPARE = 42e6
"""Working pixels that one core brings to the common stain in a second."""
STITCH = 96e6
"""Working pixels that one core stitches and writes in a second."""
RECOLOUR = 15e6
"""Working pixels of a variant that one core scales and recolours in a second."""
OPENVINO, TORCH, TORCH_ENCODER = 46e9, 18e9, 50e9
"""Multiply-adds of one core in a second, fp32: size T on a tile of 3840 x 2160 takes two cores
0.49 s by OpenVINO and 1.24 s by torch; torch is faster on the wide layers of the encoder."""
GPU_ENCODER, GPU_SEGMENTER = 80e12, 15e12
"""Multiply-adds of a large GPU in a second, bf16, of an encoder, and of segmenters and training,
which memory traffic slows down: counted, not measured."""
GPU_READERS = 4
"""Cores that read beside a GPU, while it computes."""
STARTING = 3.0
"""Seconds of imports and of the compilation of a network, for each job."""
BLOCK_HALO, SUBTILE_HALO = 240, 1 + 2 * 16 / 512
"""Context of a block of the encoder, pixels; factor of a subtile's side by its context."""
CALIBRATION_SIDE = 256
JUDGED = (10 + 12) * 256**2, 4 * 256**2
"""Pixels that are encoded, and decoded, to judge a token map."""
TRAINING = 3
"""Work of a training step in forward passes."""


@dataclass(frozen=True)
class Seconds:
    """Time of a step."""

    gpu: float = 0.0
    """With one GPU and the cores that read for it."""
    cpu: float = 0.0
    """Of one core, without a GPU."""

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.gpu + other.gpu, self.cpu + other.cpu)

    def __sub__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.gpu - other.gpu, self.cpu - other.cpu)


BOTH_NOTHING = Seconds()


def of_encoding(
    size: tuple[int, int],
    working_size: tuple[int, int],
    variants: int,
    tissue: float,
    settings: Config,
) -> Seconds:
    """Return the time of a slide's token map.

    A slide is read once for all variants, whole; its tissue is encoded.

    Args:
        size: Width and height at level 0.
        working_size: The same at working resolution.
        variants: Number of variants; 0: no token map.
        tissue: Share of the slide that is tissue.
        settings: The configuration.
    """
    if not variants:
        return BOTH_NOTHING
    pixels = math.prod(working_size)
    shallow, deep = encoder_work(settings.tokenizer)
    sides = [side / max(1, math.ceil(side / settings.tokens.block - 0.25)) for side in working_size]
    halo = math.prod(1 + 2 * BLOCK_HALO / side for side in sides)
    encoded, decoded = JUDGED
    calibrated = variants * settings.tokens.calibration_tiles * CALIBRATION_SIDE**2
    map_work = variants * tissue * pixels * halo * (shallow * SUBTILE_HALO**2 + deep)
    other_work = (calibrated + encoded) * (shallow + deep)
    other_work += decoded * decoder_work(settings.tokenizer)
    changed = variants - 1
    reading = math.prod(size) / READ + pixels * (1 / PREPARE + changed / RECOLOUR)
    on_gpu = max((map_work + other_work) / GPU_ENCODER, reading / GPU_READERS)
    on_cpu = map_work / OPENVINO + other_work / TORCH_ENCODER + reading
    return Seconds(STARTING + on_gpu, STARTING + on_cpu)


def of_inference(
    size: tuple[int, int],
    working_size: tuple[int, int],
    model: ModelOptions,
    tissue: float,
    settings: Config,
) -> Seconds:
    """Return the time in which a model segments a slide; arguments as of `of_encoding`.

    Every tile with tissue is read and computed, the overlap of tiles several times; in mode
    `online` the tiles of models that read tokens are encoded too.
    """
    pixels = tissue * _tiled(working_size, _tile_of(model, settings), settings.infer.overlap)
    reading = pixels * (math.prod(size) / math.prod(working_size) / READ + 1 / PREPARE + 1 / STITCH)
    work = pixels * segmenter_work(model)
    encoded = 0.0
    if settings.tokens.mode == "online" and isinstance(model, HolohistoModel):
        encoded = pixels * sum(encoder_work(settings.tokenizer))
    on_gpu = max(work / GPU_SEGMENTER + encoded / GPU_ENCODER, reading / GPU_READERS)
    on_cpu = work / OPENVINO + encoded / TORCH_ENCODER + reading
    return Seconds(STARTING + on_gpu, STARTING + on_cpu)


def of_training(model: ModelOptions, settings: Config) -> Seconds:
    """Return the time of training a model, validation and reading not counted."""
    options = settings.train
    tile = model.tile if isinstance(model, PixelModel) else options.tile
    work = TRAINING * options.steps * options.batch * math.prod(tile) * segmenter_work(model)
    return Seconds(work / GPU_SEGMENTER / options.devices / options.nodes, work / TORCH)


def of_tokenizer_training(settings: Config) -> Seconds:
    """Return the time of training the tokenizer: half of the encoded tiles are decoded."""
    options = settings.tokenizer
    pixels = options.steps * options.batch * options.tile**2
    work = TRAINING * pixels * (sum(encoder_work(options)) + decoder_work(options) / 2)
    return Seconds(work / GPU_SEGMENTER, work / TORCH_ENCODER)


def _tile_of(model: ModelOptions, settings: Config) -> tuple[int, int]:
    return model.tile if isinstance(model, PixelModel) else settings.infer.tile


def _tiled(size: tuple[int, int], tile: tuple[int, int], overlap: float) -> int:
    """Return the pixels of all tiles, which are no larger than the slide."""
    fitted = [min(pair) for pair in zip(size, tile, strict=True)]
    counts = [
        len(positions(length, side, overlap, 16)) for length, side in zip(size, fitted, strict=True)
    ]
    return math.prod(counts) * math.prod(fitted)
