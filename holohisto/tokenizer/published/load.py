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
    """Read a VQGAN, in evaluation state; a published one is native and not calibrated.

    Args:
        path: File or folder, see `layout.find`.
        pixel_range: The range of its pixels, for the layout that does not tell it.

    Raises:
        HolohistoError: of no known layout, not a VQGAN that ours can be, weights that do not fit,
            a pixel range that is unknown or contradicts what the files tell, or code in a pickle.
    """
    found = checkpoint_files.find(path)
    if found.config is None:
        model = load_tokenizer(found.weights)
        _decided(model.architecture.pixel_range, pixel_range, found.weights)
        return model
    form = LAYOUTS[found.layout]
    configuration = form.configuration(found.config)
    pixels = _decided(form.pixel_range(configuration), pixel_range, found.config)
    architecture = form.architecture(configuration, pixels)
    strict.check_widths(architecture, found.config)
    state = form.renamed(weights.read(found.weights), architecture)
    return strict.fill(architecture, state, found.weights)


def _decided(told: PixelRange | None, given: PixelRange | None, where: Path) -> PixelRange:
    """Return the range of the pixels; it must be known, and only one."""
    if told and given and told != given:
        raise HolohistoError(
            where,
            "is of another range of pixels than tokenizer.pixel_range says",
            found=given,
            allowed=told,
            advice="remove the option",
        )
    decided = told or given
    if decided is None:
        raise HolohistoError(
            where,
            "does not tell the range of its pixels",
            advice="set tokenizer.pixel_range:"
            " '-1..1' if converted from taming or latent-diffusion, '0..1' if trained with"
            " diffusers' example",
        )
    return decided
