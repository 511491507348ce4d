"""Options of classes and of every step that trains nothing."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from holohisto.config.fields import (
    EXPERT,
    NAME,
    Colour,
    Count,
    Digits,
    Fraction,
    Mpp,
    Section,
    Split,
    TileSize,
)


class ClassOptions(Section):
    """One class to segment."""

    values: tuple[int | Colour, ...] | None = Field(
        default=None,
        description="Grey values, or #rrggbb colours, that mark this class in annotation images."
        " Empty: whatever is drawn where the slide has one annotated class; otherwise the position"
        " of the class in the list, starting at 1.",
    )
    colour: Colour = Field(
        default="#00c853", description="Colour of the class in overlays and in QuPath."
    )

    @field_validator("values")
    @classmethod
    def _grey_values(cls, values: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        for value in values or ():
            if isinstance(value, int) and not 0 <= value <= 65535:
                raise ValueError(f"grey value {value} is not between 0 and 65535")
        return values


Classes = Annotated[
    dict[Annotated[str, Field(pattern=NAME.pattern)], ClassOptions], Field(max_length=8)
]
"""Classes by name; class i is bit i of the labels."""


class CheckOptions(Section):
    """Requirements that `check` tests on every slide before anything is computed."""

    mpp: Mpp = Field(
        default=0.5,
        description="Working resolution, micrometres per pixel; 0.5 is 20x. Every slide is brought"
        " to it.",
    )
    mpp_tolerance: Annotated[float, Field(ge=0, le=0.02)] = Field(
        default=0.005,
        description="Relative deviation from `mpp` up to which a slide keeps a whole number of"
        " pixels per working pixel, which needs no resampling. Other slides are resampled to"
        " exactly `mpp`.",
        json_schema_extra=EXPERT,
    )


class ForegroundOptions(Section):
    """Separation of tissue from a white or black background."""

    cell: Annotated[Literal[8, 16, 32], Digits] = Field(
        default=16,
        description="Side of a cell of the foreground map, working pixels.",
        json_schema_extra=EXPERT,
    )
    saturation: Fraction | None = Field(
        default=None,
        description="Saturation above which a cell is tissue. Empty: Otsu's threshold per slide.",
    )
    black: Fraction = Field(
        default=0.06,
        description="Brightness at or below which a cell is background.",
        json_schema_extra=EXPERT,
    )
    min_piece_mm2: Annotated[float, Field(ge=0)] = Field(
        default=0.005,
        description="Pieces of tissue smaller than this area are removed.",
        json_schema_extra=EXPERT,
    )
    max_hole_mm2: Annotated[float, Field(ge=0)] = Field(
        default=0.02,
        description="Holes in tissue (lumina, vessels) smaller than this area are filled.",
        json_schema_extra=EXPERT,
    )
    common_stain: bool = Field(
        default=True,
        description="Bring the tissue of every slide to a common stain: the mean and the standard"
        " deviation of its optical density become the same in each colour.",
    )
    remove_ink: bool = Field(
        default=True,
        description="Strong blue, green, black and red ink of pens is no tissue, also where tissue"
        " lies under it. Set false where a dense stain is taken for ink.",
        json_schema_extra=EXPERT,
    )
    margin: Annotated[int, Field(ge=0, le=16)] = Field(
        default=1,
        description="Cells by which the foreground is dilated in the end.",
        json_schema_extra=EXPERT,
    )


class InferOptions(Section):
    """Whole-slide inference."""

    splits: Annotated[tuple[Split, ...], Field(min_length=1)] = Field(
        default=("val", "test", "predict"), description="Splits whose slides are segmented."
    )
    tile: TileSize = Field(
        default=(3840, 2160), description="Width and height of an inference tile, working pixels."
    )
    overlap: Annotated[float, Field(ge=0, le=0.75)] = Field(
        default=0.25, description="Overlap of neighbouring tiles, as a share of the tile's side."
    )
    threshold: Fraction = Field(
        default=0.5, description="Probability at or above which a pixel belongs to the class."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="Precision of the segmenter's arithmetic. `auto`: bf16 on GPUs, fp32 on CPUs."
        " bf16 is faster on processors with instructions for it (AVX-512 BF16, AMX) and is refused"
        " on others.",
        json_schema_extra=EXPERT,
    )


class MaskOptions(Section):
    """Delivered masks, outlines and overlays."""

    min_object_um2: Annotated[float, Field(ge=0)] = Field(
        default=500.0,
        description="Objects smaller than this area are removed from masks and GeoJSON.",
    )
    max_hole_um2: Annotated[float, Field(ge=0)] = Field(
        default=500.0, description="Holes in objects smaller than this area are filled."
    )
    split_touching: dict[str, Annotated[float, Field(ge=0, le=0.95)]] = Field(
        default={"glomerulus": 0.7},
        description="Splits touching round objects: class -> largest neck width, as a share of the"
        " smaller object's width, at which two are separated. Unlisted classes are not split.",
    )
    min_probability: dict[str, Annotated[float, Field(ge=0, lt=1)]] = Field(
        default={},
        description="Class -> mean probability below which an object is removed. The report shows"
        " the effect on validation slides. Unlisted classes keep all objects.",
    )
    simplify_um: Annotated[float, Field(ge=0)] = Field(
        default=0.25,
        description="Largest displacement of an outline when its points are simplified.",
        json_schema_extra=EXPERT,
    )
    overlay_side: Annotated[int, Field(ge=200, le=8000)] = Field(
        default=1200,
        description="Longer side of the overlay picture, pixels.",
        json_schema_extra=EXPERT,
    )
    ome: bool = Field(
        default=False, description="Also write each mask as OME-TIFF, `{slide}_{class}.ome.tif`."
    )
    gzip: bool = Field(default=False, description="Compress the GeoJSON: `{slide}.geojson.gz`.")


class MetricsOptions(Section):
    """Scores of masks against annotations."""

    tile: tuple[Count, Count] = Field(
        default=(3840, 2160),
        description="Width and height of the tiles of the tile-level Dice, working pixels.",
    )
    iou: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.5,
        description="Two objects match at this intersection over union or more. At least 0.5, so"
        " that matches are one to one.",
    )
    boundary_um: Annotated[float, Field(ge=0, le=50)] = Field(
        default=2.0,
        description="Tolerance of the boundary F1: distance up to which two outlines agree.",
    )
    protocol: Literal["kpis2024"] | None = Field(
        default=None,
        description="Challenge whose scorer is reproduced in additional columns: `kpis2024`.",
    )


class CohortOptions(Section):
    """Statistics over the cohort."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.01, description="Significance level of the tests; the paper uses 0.01."
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        default=0.95,
        description="Confidence level of the intervals.",
        json_schema_extra=EXPERT,
    )


class GalleryOptions(Section):
    """Pictures of typical fields and of the largest errors."""

    groups: Annotated[int, Field(ge=0)] = Field(
        default=6,
        description="Number of groups for which a typical field is shown with the result of every"
        " model, taken from the slide with the group's median Dice.",
    )
    field_um: Annotated[float, Field(ge=50, le=2000)] = Field(
        default=800.0,
        description="Side of a typical field; at most 4096 px of the slide are read.",
        json_schema_extra=EXPERT,
    )
    worst: Annotated[int, Field(ge=0)] = Field(
        default=4,
        description="Number of slides with the lowest Dice whose largest errors are shown; at most"
        " a third of the scored slides.",
    )
    errors: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3,
        description="False positives and false negatives shown per slide, each.",
        json_schema_extra=EXPERT,
    )
    side: Annotated[int, Field(ge=100, le=1000)] = Field(
        default=320,
        description="Longer side of a picture, pixels; pictures of errors are not enlarged.",
        json_schema_extra=EXPERT,
    )


class ReportOptions(Section):
    """The HTML report."""

    title: str = Field(default="HoloHisto cohort report", description="Heading of the report.")
    picture_side: Annotated[int, Field(ge=200, le=4000)] = Field(
        default=640,
        description="Longer side of the pictures in the report, pixels.",
        json_schema_extra=EXPERT,
    )
