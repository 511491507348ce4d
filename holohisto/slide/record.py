"""The record of a slide that `check` writes and every later verb reads."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    computed_field,
    model_validator,
)

from holohisto.config.fields import Mpp, Pixels
from holohisto.config.sections import CheckOptions
from holohisto.errors import HolohistoError
from holohisto.runtime.seal import read_sealed_json, sealed_json
from holohisto.sheet.annotations import is_outlines
from holohisto.sheet.cells import LONGEST_ID, SLIDE_ID
from holohisto.slide import Slide
from holohisto.slide.bounds import Bounds
from holohisto.slide.fit import resolution_of
from holohisto.slide.mpp import MppXY, both, mpp_text
from holohisto.slide.pictures import picture_size
from holohisto.slide.probe import probe
from holohisto.slide.resolution import resolution_warnings, working_mpp, working_scale
from holohisto.slide.scale import Scale, ScaleField

SAMPLED_TILES = 64
"""Number of tiles of each level that are decoded."""
SAMPLED_ENDS = 2**17
"""Largest number of tiles of each level whose first and last bytes are checked. Levels with more
tiles, above 8 gigapixels in tiles of 256, are sampled evenly."""
FLAT_SIDE = 8192
"""Longest side of a slide without a pyramid that is read without a warning."""
DARK, LEAST_BRIGHT = 60, 0.005
"""Largest channel value of a dark background, and the share of bright pixels, as of lumina, that a
brightfield slide with a blacked-out surround has at least."""
MPP_GAP = 0.02
"""Relative difference between two resolutions above which a warning is given."""


Grey = Annotated[int, Field(ge=0, le=255)]


class SlideRecord(BaseModel):
    """The properties of one slide on which all later verbs rely."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slide: Annotated[str, Field(pattern=SLIDE_ID.pattern, max_length=LONGEST_ID)]
    image: str
    size: Pixels
    """Width and height of level 0."""
    mpp: Mpp
    """Micrometres per pixel of level 0 along x."""
    mpp_y: Mpp
    """The same along y."""
    mpp_source: str
    """sheet, header or tags."""
    reader: str
    compression: str
    levels: Annotated[list[Pixels], Field(min_length=1, max_length=64)]
    background: tuple[Grey, Grey, Grey]
    bounds: Bounds | None = None
    """The scanned part of level 0: x, y, width and height; None: all of it."""
    scale: ScaleField
    """Level-0 pixels per working pixel."""
    working_size: Pixels
    working_mpp: Mpp
    fingerprint: str
    annotation: dict[str, Any] | None = None
    """`size` in pixels, and `fits`: the part and resolution of that size: "level 0", "working",
    "scanned part, level 0" or "scanned part, working"."""
    warnings: list[str] = []
    estimates: dict[str, Any] = {}

    @classmethod
    def read(cls, path: Path) -> "SlideRecord":
        """Read a record that `check` wrote.

        Raises:
            HolohistoError: missing, damaged, or not a record of this version.
        """
        try:
            return cls.model_validate(read_sealed_json(Path(path)))
        except OSError as error:
            raise HolohistoError(
                path, f"cannot be read: {error.strerror}", advice="run `holohisto check` first"
            ) from error
        except ValidationError as error:
            raise HolohistoError(
                path, "is not a record of `holohisto check`", advice="delete it and run again"
            ) from error

    def open(self, image: Path) -> Slide:
        """Open the slide with the mpp and the background of the record.

        Raises:
            HolohistoError: the image cannot be read, or is not the one that was checked.
        """
        slide = Slide(image, mpp=self.mpp_xy, background=self.background)
        if slide.fingerprint != self.fingerprint:
            slide.close()
            raise HolohistoError(
                image,
                f"the image has changed since it was checked as slide {self.slide}",
                advice="run `holohisto check` again (the workflow does when the file is newer)",
            )
        return slide

    @computed_field
    @property
    def factor(self) -> int | float:
        """Level-0 pixels per working pixel along x, rounded, for people who read the record."""
        return self.scale.factor or round(float(self.scale.x), 4)

    @model_validator(mode="before")
    @classmethod
    def _without_factor(cls, fields: Any) -> Any:
        """Leave out the rounded factor of a stored record."""
        if isinstance(fields, dict):
            return {name: value for name, value in fields.items() if name != "factor"}
        return fields

    @property
    def mpp_xy(self) -> MppXY:
        """Micrometres per pixel of level 0 along x and y."""
        return self.mpp, self.mpp_y

    def text(self) -> str:
        """Return the record as JSON, one field per line, and a digest of them."""
        return sealed_json(self.model_dump(mode="json"))


def inspect(
    slide_id: str,
    image: Path,
    annotation: Path | None,
    mpp: float | None,
    options: CheckOptions,
) -> SlideRecord:
    """Check a slide and return its record.

    Args:
        slide_id: Id of the slide.
        image: The image file.
        annotation: Its annotation, if any.
        mpp: Micrometres per pixel of level 0 from the sheet; replaces the file's own value.
        options: Working resolution and tolerance.

    Raises:
        HolohistoError: the image is unreadable, its mpp unknown or unsuited, or the annotation
            differs from it in size.
    """
    probe(image, samples=SAMPLED_TILES, ends=SAMPLED_ENDS)
    with Slide(image, mpp=mpp) as slide:
        if slide.mpp is None or slide.mpp_y is None:
            raise HolohistoError(
                image,
                f"slide {slide_id}: the file does not state its micrometres per pixel",
                advice="set the column `mpp` of the sheet or `segment --mpp` (40x: 0.25, 20x: 0.5)",
            )
        severe = [doubt.text for doubt in slide.doubts if doubt.severe]
        if mpp is None and severe:
            raise HolohistoError(
                image,
                f"slide {slide_id}: the file's resolution is in doubt: {'; '.join(severe)}",
                advice="set the true value in the column `mpp` of the sheet or by `segment --mpp`",
            )
        return record_of(slide_id, slide, (slide.mpp, slide.mpp_y), annotation, options)


def record_of(
    slide_id: str, slide: Slide, mpp: float | MppXY, annotation: Path | None, options: CheckOptions
) -> SlideRecord:
    """Return the record of an open slide.

    Args:
        slide_id: Id of the slide.
        slide: The slide.
        mpp: Micrometres per pixel of level 0, or two values, along x and y.
        annotation: Its annotation picture, if any.
        options: Working resolution and tolerance.

    Raises:
        HolohistoError: the resolution is unsuited, or the annotation has another size.
    """
    mpp = both(mpp)
    scale = working_scale(slide.path, mpp, options)
    working_size = scale.working_size(slide.size)
    return SlideRecord(
        slide=slide_id,
        image=str(slide.path),
        size=slide.size,
        mpp=mpp[0],
        mpp_y=mpp[1],
        mpp_source=slide.mpp_source or "sheet",
        reader=slide.reader,
        compression=slide.compression,
        levels=slide.levels,
        background=slide.background,
        bounds=slide.bounds,
        scale=scale,
        working_size=working_size,
        working_mpp=working_mpp(mpp, scale),
        fingerprint=slide.fingerprint,
        annotation=_fit(annotation, slide.size, slide.bounds, scale),
        warnings=_warnings(slide, mpp, options),
    )


def _fit(
    annotation: Path | None, size: tuple[int, int], bounds: Bounds | None, scale: Scale
) -> dict[str, Any] | None:
    """Size and resolution of an annotation, for the record."""
    if annotation is None:
        return None
    working_size = scale.working_size(size)
    fitting = {"level 0": size, "working": working_size}
    own_size = size if is_outlines(annotation) else picture_size(annotation)
    if fits := resolution_of(own_size, size, working_size):
        return {"size": list(own_size), "fits": fits}
    if bounds is not None:
        working_part = scale.working_size(bounds.size)
        if fits := resolution_of(own_size, bounds.size, working_part):
            return {"size": list(own_size), "fits": f"scanned part, {fits}"}
        fitting |= {"scanned part": bounds.size, "scanned part, working": working_part}
    raise HolohistoError(
        annotation,
        "the annotation has not the slide's size",
        found="{}x{}".format(*own_size),
        allowed=" or ".join(f"{w}x{h} ({name})" for name, (w, h) in fitting.items()),
    )


def _warnings(slide: Slide, mpp: MppXY, options: CheckOptions) -> list[str]:
    """Unusual properties of a slide that are no errors."""
    warnings = list(slide.warnings)
    if slide.mpp_source != "sheet":
        warnings += [f"check the resolution: {doubt.text}" for doubt in slide.doubts]
    if max(slide.background) <= DARK and slide.bright_share() < LEAST_BRIGHT:
        warnings.append(
            "dark background and no bright pixels: fluorescence or inverted colours? Brightfield"
            " is expected"
        )
    if len(slide.levels) == 1 and max(slide.size) > FLAT_SIDE:
        warnings.append("no pyramid: overviews read every pixel; a pyramidal TIFF is faster")
    header = slide.header_mpp or mpp
    if any(abs(ours / theirs - 1) > MPP_GAP for ours, theirs in zip(mpp, header, strict=True)):
        warnings.append(f"the sheet's mpp {mpp_text(mpp)} replaces {mpp_text(header)} of the file")
    return warnings + resolution_warnings(mpp, options)
