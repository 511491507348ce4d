"""Reading a tokenizer's checkpoint of any layout."""

from pathlib import Path

from holohisto.config import checkpoint_files
from holohisto.config.fields import PixelRange
from holohisto.errors import HolohistoError
from holohisto.tokenizer.file import load_tokenizer
from holohisto.tokenizer.published import diffusers, openmuse, strict, taming, weights
from holohisto.tokenizer.vqgan import VQGAN

LAYOUTS = {"taming": taming, "openmuse": openmuse, "diffusers": diffusers}


def read(path: Path, pixel_range: PixelRange | None = None) -> VQGAN:
    """Read a VQGAN, in evaluation state and with native statistics.

    Args:
        path: File or folder, see `config.checkpoint_files.find`.
        pixel_range: Pixel range, for a layout that does not determine it.

    Raises:
        HolohistoError: unknown layout, a network that cannot be built here, weights that do not
            fit, a pixel range that is unknown or contradicts the files, or code in a pickle.
    """
    checkpoint = checkpoint_files.find(path)
    if checkpoint.config is None:
        model = load_tokenizer(checkpoint.weights)
        _checked(model.architecture.pixel_range, pixel_range, checkpoint.weights)
        return model
    layout = LAYOUTS[checkpoint.layout]
    configuration = layout.configuration(checkpoint.config)
    pixels = _checked(layout.pixel_range(configuration), pixel_range, checkpoint.config)
    with strict.one_line_each(checkpoint.config):
        architecture = layout.architecture(configuration, pixels)
    state = layout.renamed(weights.read(checkpoint.weights), architecture)
    return strict.fill(architecture, state, checkpoint.weights)


def _checked(stated: PixelRange | None, option: PixelRange | None, path: Path) -> PixelRange:
    """Return the pixel range: stated by the files, or by the option; they must not differ."""
    if stated and option and stated != option:
        raise HolohistoError(
            path,
            "has another range of pixels than tokenizer.pixel_range",
            found=option,
            allowed=stated,
            advice="remove the option",
        )
    pixel_range = stated or option
    if pixel_range is None:
        raise HolohistoError(
            path,
            "does not state the range of its pixels",
            advice="set tokenizer.pixel_range:"
            " '-1..1' if converted from taming or latent-diffusion, '0..1' if trained with"
            " diffusers' example",
        )
    return pixel_range
