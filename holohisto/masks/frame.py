"""Names, sizes and resolution of a slide's labels, checked against the record of the slide."""

from dataclasses import dataclass
from pathlib import Path

from holohisto.annotation import Annotation
from holohisto.config.fields import NAME
from holohisto.config.sections import ClassOptions
from holohisto.errors import HolohistoError
from holohisto.masks.cleaning import BAND, Bands, Probability
from holohisto.pyramid.raster import Raster
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.mpp import MppXY
from holohisto.slide.record import SlideRecord
from holohisto.slide.resolution import working_mpp
from holohisto.slide.scale import Scale


@dataclass(frozen=True)
class Frame:
    """One slide's labels of one model."""

    slide: str
    model: str
    size: tuple[int, int]
    """Width and height of the slide, level-0 pixels."""
    mpp: MppXY
    """Micrometres per level-0 pixel along x and y."""
    scale: Scale
    """Level-0 pixels per working pixel."""
    corner: tuple[int, int] = (0, 0)
    """Corner of the scanned part, level-0 pixels, from which QuPath counts."""
    pretrained: str = ""
    """Weights that the model's training started from, according to the labels; empty: unknown."""
    fingerprint: str = ""
    """Of the slide's file."""

    @property
    def pixel_um2(self) -> float:
        """Area of a working pixel, µm²."""
        (x, y), scale = self.mpp, self.scale
        return (x * float(scale.x)) * (y * float(scale.y))

    @property
    def working_mpp(self) -> float:
        """Micrometres per working pixel."""
        return working_mpp(self.mpp, self.scale)

    @property
    def working_size(self) -> tuple[int, int]:
        """Width and height at working resolution, rounded up."""
        return self.scale.working_size(self.size)

    def fill(self, pattern: str | Path, **names: str) -> Path:
        """Fill {slide}, {model} and other names in a path."""
        text = str(pattern)
        for key, value in {"slide": self.slide, "model": self.model, **names}.items():
            text = text.replace(f"{{{key}}}", value)
        return Path(text)


def frame_of(labels: Raster, record: SlideRecord, classes: dict[str, ClassOptions]) -> Frame:
    """Return the frame of a labels file, which must belong to the checked slide.

    Raises:
        HolohistoError: the labels are of another slide, size, resolution or set of classes.
    """
    header, again = labels.header, "run infer again"
    frame = Frame(
        record.slide,
        _model(header.get("model", ""), labels.path),
        record.size,
        record.mpp_xy,
        record.scale,
        record.bounds[:2] if record.bounds else (0, 0),
        str(header.get("pretrained", "")),
        record.fingerprint,
    )
    for fact, found, allowed in (
        ("slide", header.get("slide"), record.slide),
        ("size", tuple(labels.size), frame.working_size),
        ("scale", header.get("scale"), record.scale.texts),
        ("classes", header.get("classes"), list(classes)),
    ):
        if found != allowed:
            raise HolohistoError(
                labels.path,
                f"labels have another {fact} than asked for",
                found=found,
                allowed=allowed,
                advice=again,
            )
    return frame


def _model(name: object, path: Path) -> str:
    """The model's name, which becomes part of paths."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise HolohistoError(path, "has no name of a model in its header", found=repr(name))
    return name


def label_bands(labels: Raster) -> Bands:
    """The labels in row bands."""
    return Bands(labels.size, lambda: labels.rows(BAND))


def annotation_bands(annotation: Annotation, frame: Frame) -> Bands:
    """The annotation at working resolution in row bands."""
    width, height = frame.working_size

    def read():  # noqa: ANN202
        for top in range(0, height, BAND):
            yield annotation.read((0, top), (width, min(BAND, height - top)))

    return Bands((width, height), read)


def probability_of(raster: Raster, frame: Frame) -> Probability:
    """The probability map in row bands that go with those of the labels.

    Raises:
        HolohistoError: it is of another slide or size.
    """
    divisor = int(raster.header.get("divisor", 4))
    size = tuple(ceil_div(side, divisor) for side in frame.working_size)
    if BAND % divisor or raster.size != size or raster.header.get("slide") != frame.slide:
        raise HolohistoError(
            raster.path,
            "probability map does not go with the labels",
            found=raster.size,
            allowed=size,
            advice="run infer again",
        )
    return Probability(lambda: raster.rows(BAND // divisor), divisor)
