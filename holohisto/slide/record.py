"""What is known of a slide before anything is computed: the record that `check` writes."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from holohisto.config.sections import CheckOptions
from holohisto.errors import HolohistoError
from holohisto.runtime.arithmetic import ceil_div
from holohisto.sheet.rows import is_outlines
from holohisto.slide import Slide
from holohisto.slide.probe import picture_size, probe

SAMPLED_TILES = 64
"""Tiles of each level that are decoded."""
SAMPLED_ENDS = 2**17
"""Most tiles of each level whose first and last bytes are read; larger levels, of more than 8
gigapixels in tiles of 256, are sampled evenly."""
FLAT_SIDE = 8192
"""Longest side up to which a slide without a pyramid is no trouble."""
MPP_GAP = 0.02


class SlideRecord(BaseModel):
    """Facts about one slide that every later verb goes by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slide: str
    image: str
    size: tuple[int, int]
    """Width and height of level 0."""
    mpp: float
    """Micrometres per pixel of level 0."""
    mpp_source: str
    """sheet, header or tags."""
    reader: str
    compression: str
    levels: list[tuple[int, int]]
    background: tuple[int, int, int]
    factor: int
    """Level-0 pixels a side of a working pixel."""
    working_size: tuple[int, int]
    working_mpp: float
    fingerprint: str
    annotation: dict[str, Any] | None = None
    """`size` and what it `fits`: "level 0" or "working"."""
    warnings: list[str] = []
    estimates: dict[str, Any] = {}

    @classmethod
    def read(cls, path: Path) -> "SlideRecord":
        """Read a record that `check` wrote.

        Raises:
            HolohistoError: missing, or of another version.
        """
        try:
            return cls.model_validate_json(Path(path).read_text())
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
        slide = Slide(image, mpp=self.mpp, background=self.background)
        if slide.fingerprint != self.fingerprint:
            slide.close()
            raise HolohistoError(
                image,
                f"the image has changed since it was checked as slide {self.slide}",
                advice="run `holohisto check` again (the workflow does when the file is newer)",
            )
        return slide

    def text(self) -> str:
        """The record as JSON, one field a line."""
        fields = self.model_dump(mode="json")
        lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items())
        return "{\n" + ",\n".join(lines) + "\n}\n"


def inspect(
    slide_id: str,
    image: Path,
    annotation: Path | None,
    mpp: float | None,
    options: CheckOptions,
) -> SlideRecord:
    """Look at a slide and say how it will be processed.

    Args:
        slide_id: Id of the slide.
        image: The image file.
        annotation: Its annotation picture, if any.
        mpp: Micrometres per pixel of level 0 from the sheet, over what the file says.
        options: Working resolution and tolerance.

    Raises:
        HolohistoError: the image is unreadable, its mpp unknown or unsuited, or the annotation
            has another size.
    """
    probe(image, samples=SAMPLED_TILES, ends=SAMPLED_ENDS)
    with Slide(image, mpp=mpp) as slide:
        if slide.mpp is None:
            raise HolohistoError(
                image,
                f"slide {slide_id}: the file does not tell its micrometres per pixel",
                advice="set the column `mpp` of the sheet or `segment --mpp` (40x: 0.25, 20x: 0.5)",
            )
        return record_of(slide_id, slide, slide.mpp, annotation, options)


def record_of(
    slide_id: str, slide: Slide, mpp: float, annotation: Path | None, options: CheckOptions
) -> SlideRecord:
    """Return the record of an open slide.

    Args:
        slide_id: Id of the slide.
        slide: The slide.
        mpp: Micrometres per pixel of level 0.
        annotation: Its annotation picture, if any.
        options: Working resolution and tolerance.

    Raises:
        HolohistoError: the resolution is unsuited, or the annotation has another size.
    """
    factor = working_factor(slide.path, mpp, options)
    working_size = (ceil_div(slide.size[0], factor), ceil_div(slide.size[1], factor))
    return SlideRecord(
        slide=slide_id,
        image=str(slide.path),
        size=slide.size,
        mpp=mpp,
        mpp_source=slide.mpp_source or "sheet",
        reader=slide.reader,
        compression=slide.compression,
        levels=slide.levels,
        background=slide.background,
        factor=factor,
        working_size=working_size,
        working_mpp=mpp * factor,
        fingerprint=slide.fingerprint,
        annotation=_fit(annotation, slide.size, working_size),
        warnings=_warnings(slide, factor, options),
    )


def working_factor(where: object, mpp: float, options: CheckOptions) -> int:
    """Return round(working mpp / mpp), at least 1.

    Raises:
        HolohistoError: the working resolution that follows is too far from the one asked for.
    """
    factor = max(1, round(options.mpp / mpp))
    got = mpp * factor
    if abs(got / options.mpp - 1) > options.mpp_tolerance:
        raise HolohistoError(
            where,
            f"no whole factor leads from {mpp:g} to the working {options.mpp:g} um per"
            f" pixel; nearest is {got:g}",
            allowed=f"{options.mpp:g} within {options.mpp_tolerance:.0%}",
            advice=f"set `check.mpp: {got:g}` in the config for the whole cohort, or, if the slide"
            " is wrong, its true value in the sheet's column `mpp`",
        )
    return factor


def _fit(
    annotation: Path | None, size: tuple[int, int], working_size: tuple[int, int]
) -> dict[str, Any] | None:
    """Say which resolution an annotation has."""
    if annotation is None:
        return None
    found = size if is_outlines(annotation) else picture_size(annotation)
    for name, allowed in (("level 0", size), ("working", working_size)):
        if found == allowed:
            return {"size": list(found), "fits": name}
    raise HolohistoError(
        annotation,
        "the annotation has not the slide's size",
        found="{}x{}".format(*found),
        allowed="{}x{} (level 0) or {}x{} (working)".format(*size, *working_size),
    )


def _warnings(slide: Slide, factor: int, options: CheckOptions) -> list[str]:
    """What is odd, but not wrong."""
    warnings = []
    if len(slide.levels) == 1 and max(slide.size) > FLAT_SIDE:
        warnings.append("no pyramid: overviews read every pixel; a pyramidal TIFF is faster")
    mpp, header = slide.mpp or 0.0, slide.header_mpp
    if header and abs(mpp / header - 1) > MPP_GAP:
        warnings.append(f"the sheet's mpp {mpp:g} replaces {header:g} of the file")
    if abs(mpp * factor / options.mpp - 1) > MPP_GAP:
        warnings.append(f"works at {mpp * factor:g} um per pixel instead of {options.mpp:g}")
    return warnings
