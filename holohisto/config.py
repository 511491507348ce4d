"""The configuration: every option, its default, its limits and what it means."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from holohisto.errors import HolohistoError, SeveralErrors

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
Split = Literal["train", "val", "test", "predict"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class Section(BaseModel):
    """A frozen set of options; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ClassOptions(Section):
    """One class to segment."""

    values: tuple[int | Colour, ...] | None = Field(
        default=None,
        description="Grey values, or #rrggbb colours, that mean this class in annotation images."
        " Empty: any bright value (above 127, or 1 in 0/1 masks) when there is one class,"
        " else the class's place in the list, from 1.",
    )
    colour: Colour = Field(default="#00c853", description="Colour in overlays and QuPath.")

    @field_validator("values")
    @classmethod
    def _grey_values(cls, values: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        for value in values or ():
            if isinstance(value, int) and not 0 <= value <= 65535:
                raise ValueError(f"grey value {value} is none of 0 to 65535")
        return values


Classes = dict[str, ClassOptions]
"""Classes by name; the place in the order is the bit of the labels."""


class CheckOptions(Section):
    """What `check` asks of a slide before anything is computed."""

    mpp: Positive = Field(
        default=0.5, description="Working resolution in micrometres per pixel (20x)."
    )
    mpp_tolerance: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        default=0.15,
        description="Allowed relative gap between the working mpp and factor x slide mpp.",
    )


class ForegroundOptions(Section):
    """How tissue is told from glass, white or black."""

    cell: Literal[8, 16, 32] = Field(
        default=16, description="Side of a cell of the map, working pixels."
    )
    saturation: Fraction | None = Field(
        default=None, description="Saturation above which a cell is tissue; empty: Otsu per slide."
    )
    black: Fraction = Field(
        default=0.06, description="Brightness at or below which a cell is background."
    )
    min_piece_mm2: Annotated[float, Field(ge=0)] = Field(
        default=0.005, description="Smaller pieces of tissue are dropped."
    )
    max_hole_mm2: Annotated[float, Field(ge=0)] = Field(
        default=0.02, description="Smaller holes in tissue (lumina, vessels) are filled."
    )
    margin: Annotated[int, Field(ge=0, le=16)] = Field(
        default=1, description="Cells by which the tissue is widened at the end."
    )


class TokenizerOptions(Section):
    """The VQGAN: a checkpoint, or what to train on the cohort's own foreground."""

    checkpoint: Path | None = Field(
        default=None, description="A tokenizer.safetensors to use as it is; empty: train one."
    )
    channels: Annotated[int, Field(ge=8, multiple_of=8)] = Field(
        default=64, description="Width of the first level."
    )
    multipliers: Annotated[tuple[Count, ...], Field(min_length=2, max_length=6)] = Field(
        default=(1, 2, 2, 4, 4), description="Width of each level; n levels give f = 2^(n-1)."
    )
    residual_blocks: Count = Field(default=2, description="Residual blocks a level.")
    codebook: Annotated[int, Field(ge=2, le=65534)] = Field(
        default=1024, description="Number of codes."
    )
    dimension: Count = Field(default=32, description="Length of a code.")
    tile: Annotated[int, Field(ge=64, multiple_of=64)] = Field(
        default=256, description="Side of a training tile, working pixels."
    )
    batch: Count = Field(default=8, description="Tiles a step.")
    steps: Count = Field(default=20_000, description="Steps of training.")
    learning_rate: Positive = Field(default=2e-4, description="Learning rate of both networks.")
    adversarial_start: Fraction = Field(
        default=0.5, description="Share of the steps after which the patch-GAN joins the L1 loss."
    )
    adversarial_weight: Annotated[float, Field(ge=0)] = Field(
        default=0.1, description="Weight of the patch-GAN loss beside the L1 loss."
    )
    calibration_tiles: Count = Field(
        default=64,
        description="Foreground tiles of the training slides that set the frozen statistics.",
    )
    calibration_tolerance: Positive = Field(
        default=1e-3, description="Largest relative change of a statistic at which the sweeps stop."
    )


class TokensOptions(Section):
    """How a slide's token map is computed."""

    core: Annotated[int, Field(ge=256, multiple_of=256)] = Field(
        default=1024, description="Side of the area a tile contributes, working pixels."
    )
    halo: Annotated[int, Field(ge=0, multiple_of=32)] = Field(
        default=224,
        description="Context around the core; 224 makes tokens independent of the tiling.",
    )


class TrainOptions(Section):
    """How segmenters are trained, equally for all models."""

    tile: tuple[Annotated[int, Field(ge=64)], Annotated[int, Field(ge=64)]] = Field(
        default=(3840, 2160), description="Width and height of a training tile, working pixels."
    )
    sampler: Literal["random", "grid"] = Field(
        default="random", description="Anywhere in the foreground, or a fixed grid of tiles."
    )
    coverage: Positive = Field(
        default=1.0,
        description="How often an epoch covers the training foreground, in expectation.",
    )
    annotated_share: Fraction = Field(
        default=0.5, description="Share of tiles centred, with jitter, on annotated objects."
    )
    epochs: Count = Field(default=200, description="Epochs of training.")
    batch: Count = Field(default=8, description="Tiles a step, over all devices.")
    learning_rate: Positive = Field(default=2e-4, description="Highest learning rate.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.05, description="Weight decay of AdamW."
    )
    warmup: Fraction = Field(
        default=0.05, description="Share of the steps with rising learning rate."
    )
    clip: Positive = Field(default=1.0, description="Largest norm of the gradient.")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.999, description="Decay of the average."
    )
    validate_every: Count = Field(default=1, description="Epochs between validations.")
    brightness: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="Largest relative change of brightness of the pixels seen."
    )


class InferOptions(Section):
    """Whole-slide inference."""

    splits: Annotated[tuple[Split, ...], Field(min_length=1)] = Field(
        default=("val", "test", "predict"), description="Which slides are segmented."
    )
    tile: tuple[Annotated[int, Field(ge=64)], Annotated[int, Field(ge=64)]] = Field(
        default=(3840, 2160), description="Width and height of a tile, working pixels."
    )
    overlap: Annotated[float, Field(ge=0, le=0.75)] = Field(
        default=0.25, description="Share of a tile that its neighbour covers too."
    )
    threshold: Fraction = Field(
        default=0.5, description="Probability from which a pixel is the class."
    )


class MaskOptions(Section):
    """Delivered masks, outlines and overlays."""

    min_object_um2: Annotated[float, Field(ge=0)] = Field(
        default=500.0, description="Smaller objects are left out of masks and GeoJSON."
    )
    max_hole_um2: Annotated[float, Field(ge=0)] = Field(
        default=500.0, description="Smaller holes in objects are filled."
    )
    simplify_um: Annotated[float, Field(ge=0)] = Field(
        default=0.25, description="Largest shift of an outline when its points are thinned."
    )
    overlay_side: Annotated[int, Field(ge=200, le=8000)] = Field(
        default=1200, description="Longer side of the overlay picture, pixels."
    )


class MetricsOptions(Section):
    """How masks are scored against annotations."""

    tile: tuple[Count, Count] = Field(
        default=(3840, 2160), description="Grid of the tile-level Dice, working pixels."
    )
    iou: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.5,
        description="Overlap from which two objects are the same; >= 0.5 is one-to-one.",
    )


class CohortOptions(Section):
    """Statistics over the cohort."""

    level: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.05, description="Level of the tests."
    )
    bootstrap: Count = Field(default=2000, description="Resamples of an interval.")


class ReportOptions(Section):
    """The HTML report."""

    title: str = Field(default="HoloHisto cohort report", description="Heading of the report.")
    picture_side: Annotated[int, Field(ge=200, le=4000)] = Field(
        default=640, description="Longer side of the pictures in the report, pixels."
    )


class HolohistoModel(Section):
    """The paper's segmenter over tokens."""

    kind: Literal["holohisto"] = Field(default="holohisto", description="Reads tokens.")
    size: Literal["T", "S"] = Field(default="S", description="Tiny or small.")
    decoder: Literal["tokens", "rgb"] = Field(
        default="rgb", description="Tokens alone, or with a small RGB stem for crisp edges."
    )
    weights: Path | None = Field(
        default=None, description="A trained segmenter; its training is skipped."
    )


class ThresholdModel(Section):
    """The floor: the best colour threshold found on the training slides."""

    kind: Literal["threshold"] = Field(default="threshold", description="Reads pixels.")
    weights: Path | None = Field(
        default=None, description="A fitted threshold; its fitting is skipped."
    )


ModelOptions = Annotated[HolohistoModel | ThresholdModel, Field(discriminator="kind")]


class Config(Section):
    """Everything a run can be told; where and how fast it runs is in the profile."""

    slides: Path = Field(default=Path("config/slides.tsv"), description="The sample sheet.")
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Of everything random in training."
    )
    classes: Annotated[dict[str, ClassOptions], Field(min_length=1, max_length=8)] = Field(
        default={"glomerulus": ClassOptions()},
        description="Classes; bit i of the labels is class i.",
    )
    models: Annotated[dict[str, ModelOptions], Field(min_length=1)] = Field(
        default={"holohisto": HolohistoModel()}, description="Models to train and compare."
    )
    reference: str | None = Field(
        default=None, description="The model that the others are tested against; empty: the first."
    )
    check: CheckOptions = CheckOptions()
    foreground: ForegroundOptions = ForegroundOptions()
    tokenizer: TokenizerOptions = TokenizerOptions()
    tokens: TokensOptions = TokensOptions()
    train: TrainOptions = TrainOptions()
    infer: InferOptions = InferOptions()
    mask: MaskOptions = MaskOptions()
    metrics: MetricsOptions = MetricsOptions()
    cohort: CohortOptions = CohortOptions()
    report: ReportOptions = ReportOptions()

    @field_validator("classes", "models")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Names become file names."""
        for name in value:
            if not NAME.match(name):
                raise ValueError(f"name {name!r} must match {NAME.pattern}")
        if twins := [name for name in value if [n.lower() for n in value].count(name.lower()) > 1]:
            raise ValueError(f"names that differ only in case: {', '.join(twins)}")
        return value

    @model_validator(mode="after")
    def _reference_is_a_model(self) -> "Config":
        if self.reference is not None and self.reference not in self.models:
            raise ValueError(f"reference {self.reference!r} is not one of {sorted(self.models)}")
        return self

    @property
    def reference_model(self) -> str:
        """Name of the model that the others are tested against."""
        return self.reference or next(iter(self.models))


def parse(data: dict[str, Any], where: object = "config") -> Config:
    """Validate a configuration, reporting every mistake at once.

    Raises:
        HolohistoError: one line per mistake, `where: key: problem (found X)`.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise SeveralErrors([_line(where, item) for item in error.errors()]) from error


def read(path: Path) -> Config:
    """Read a YAML configuration file."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise HolohistoError(path, f"cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise HolohistoError(path, f"is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise HolohistoError(path, "must hold a mapping of sections", found=type(data).__name__)
    return parse(data, path)


def _line(where: object, item: Any) -> str:
    parts = list(item["loc"])
    if parts[:1] == ["models"] and len(parts) > 2:
        del parts[2]  # the kind, which pydantic puts between a model's name and its key
    key = ".".join(str(part) for part in parts) or "(whole)"
    if item["type"] == "extra_forbidden":
        return f"{where}: {key}: unknown key; see config/README.md for the keys there are"
    if item["type"] == "union_tag_not_found":
        return f"{where}: {key}.kind: missing; it says what the model is, see config/README.md"
    problem = item["msg"].removeprefix("Value error, ")
    mappings = ("model_type", "dict_type", "model_attributes_type")
    if item["input"] is None and item["type"] in mappings:
        return f"{where}: {key}: empty; remove it or give it keys"
    if not item["loc"]:  # what was found is the whole configuration
        return f"{where}: {problem}"
    return f"{where}: {key}: {problem} (found {item['input']!r})"


def from_json(kind: Any) -> Callable[[str], Any]:
    """Return what reads options of this kind from a verb's JSON argument.

    Raises:
        HolohistoError: (from what is returned) one line per mistake.
    """

    def options(text: str) -> Any:
        try:
            return TypeAdapter(kind).validate_json(text)
        except ValidationError as error:
            lines = [_line("options", item) for item in error.errors()]
            raise SeveralErrors(lines) from error

    return options


def as_json(config: Config) -> dict[str, str]:
    """Each section as the JSON text that its verb reads.

    Defaults are in it too, so that a default changed by a new release reruns its step. `values` are
    the classes without their colours, which most steps have no use for.
    """
    sections = config.model_dump(mode="json")
    sections["infer"].pop("splits")  # which slides, not how
    sections["values"] = {
        name: {"values": one["values"]} for name, one in sections["classes"].items()
    }
    return {name: json.dumps(value) for name, value in sections.items()}


def schema() -> str:
    """The JSON schema of the configuration, as committed in config/config.schema.json."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"
