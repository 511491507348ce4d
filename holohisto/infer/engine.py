"""The choice of what computes: torch where there is a GPU, OpenVINO on a CPU.

OpenVINO computes the same network several times as fast on a CPU, and torch is not even imported
there once the segmenter has been converted. torch remains the reference in the tests.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from holohisto.config.fields import Precision
from holohisto.config.models import SwinunetrModel
from holohisto.config.starter import is_starter
from holohisto.infer.openvino_engine import OpenvinoPredictor
from holohisto.infer.predictor import Predictor
from holohisto.runtime import gpus
from holohisto.runtime.paths import cache_folder
from holohisto.runtime.processor import require_precision
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.converted import ConvertedSegmenter, load_or_convert

if TYPE_CHECKING:
    from holohisto.segmenter.file import Segmenter
    from holohisto.segmenter.inputs import TileEncoder

logger = logging.getLogger(__name__)
SUFFIX = ".openvino"
MOST_TILES = 16
"""Tiles that a CPU computes side by side at most: each needs memory of its own."""


@dataclass(frozen=True)
class EngineOptions:
    """How a segmenter is computed."""

    tile: tuple[int, int]
    """Width and height of every tile, working pixels."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`infer.precision`: `auto` is bf16 on a GPU and fp32 on a CPU."""
    threads: int = 1
    """CPU threads that compute; they alter no result."""

    @property
    def parallel(self) -> int:
        """Tiles that a CPU computes side by side, each by one thread."""
        return max(1, min(self.threads, MOST_TILES))

    @property
    def on_cpu(self) -> Precision:
        """Precision on a CPU.

        Raises:
            HolohistoError: this processor does not have it.
        """
        precision: Precision = "bf16" if self.precision == "bf16" else "fp32"
        require_precision(precision, "infer.precision")
        return precision

    @property
    def on_gpu(self) -> Precision:
        """Precision on a GPU."""
        return "fp32" if self.precision == "fp32" else "bf16"


def open_predictor(
    segmenter: Path,
    card: ModelCard,
    digest: str,
    tokenizer: Path | None,
    options: EngineOptions,
    folder: Path,
) -> Predictor:
    """Return what computes a segmenter on this machine.

    Args:
        segmenter: Its file. The converted network is kept beside it, that of the starter in the
            user's cache: an installed package is not written to.
        card: Its card.
        digest: Digest of its weights.
        tokenizer: File of its tokenizer, in mode `online`.
        options: How it is computed.
        folder: Folder of the converted network where that of the segmenter cannot be written.

    Raises:
        HolohistoError: a file does not suit, or the processor does not have the precision.
    """
    encoder = None
    if card.tokenizer is not None and card.mode == "online":
        from holohisto.infer.online import tile_encoder

        encoder = tile_encoder(card, segmenter, tokenizer)
    if gpus.may_exist():
        import torch

        if torch.cuda.is_available():
            from holohisto.infer.torch_engine import TorchPredictor
            from holohisto.segmenter.file import load_segmenter

            model, *_ = load_segmenter(segmenter)
            return TorchPredictor(model.to("cuda"), encoder, options.on_gpu)
    precision = options.on_cpu  # before the conversion, which takes seconds

    def converted() -> ConvertedSegmenter:
        from holohisto.segmenter.convert import convert
        from holohisto.segmenter.file import load_segmenter

        logger.info("converting %s for OpenVINO, once", segmenter.name)
        return convert(load_segmenter(segmenter)[0], _only_tile(card, options))

    only = _only_tile(card, options)
    name = f"{segmenter.stem}{'_{}x{}'.format(*only) if only else ''}{SUFFIX}"
    caches = cache_folder()
    folders = [folder] if caches is None else [caches / digest[:16], folder]
    if not is_starter(segmenter):
        folders = [segmenter.parent, folder]
    network = load_or_convert(name, folders, digest, converted)
    return OpenvinoPredictor(network, encoder, precision, options.parallel)


def predictor_of(
    model: "Segmenter", card: ModelCard, encoder: "TileEncoder | None", options: EngineOptions
) -> Predictor:
    """Return what computes a segmenter in memory on its device.

    Args:
        model: The segmenter; on a CPU it is converted once for as long as its weights stay.
        card: Its card.
        encoder: Encodes its tiles, in mode `online`.
        options: How it is computed.
    """
    from holohisto.device import device_of
    from holohisto.infer.torch_engine import TorchPredictor

    if device_of(model).type != "cpu":
        return TorchPredictor(model, encoder, options.on_gpu)
    network = _converted_once(model, _only_tile(card, options))
    return OpenvinoPredictor(network, encoder, options.on_cpu, options.parallel)


def _only_tile(card: ModelCard, options: EngineOptions) -> tuple[int, int] | None:
    """Return the tile that a network has to be converted for; None: it then takes any size."""
    return options.tile if isinstance(card.options, SwinunetrModel) else None


def _converted_once(model: "Segmenter", tile: tuple[int, int] | None) -> ConvertedSegmenter:
    from holohisto.segmenter.card import digest_of
    from holohisto.segmenter.convert import convert

    weights = digest_of({name: tensor.numpy() for name, tensor in model.state_dict().items()})
    kept, network = _CONVERTED.get(model, (None, None))
    if network is None or kept != (weights, tile):
        network = convert(model, tile)
        _CONVERTED[model] = (weights, tile), network
    return network


_CONVERTED: WeakKeyDictionary = WeakKeyDictionary()
"""Segmenters in memory: digest of the weights and tile, and the converted network."""
