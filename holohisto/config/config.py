"""The whole configuration of a run."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from holohisto.config.fields import NAME, FitPath, Section
from holohisto.config.models import HolohistoModel, MasksModel, ModelOptions, reads_tokens
from holohisto.config.sections import (
    CheckOptions,
    ClassOptions,
    CohortOptions,
    ForegroundOptions,
    GalleryOptions,
    InferOptions,
    MaskOptions,
    MetricsOptions,
    ReportOptions,
)
from holohisto.config.training import TokenizerOptions, TokensOptions, TrainOptions


class Config(Section):
    """All options that affect the results; resources and speed belong to the profile."""

    slides: FitPath = Field(default=Path("config/slides.tsv"), description="The sample sheet.")
    scratch: str | None = Field(
        default=None,
        description="Folder on a node-local disk, to which `tokens` and `infer` copy the slide"
        " first; `env:TMPDIR` is the value of TMPDIR in each job. Best set in the profile; reruns"
        " nothing.",
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Seed of all random numbers used in training."
    )
    classes: Annotated[dict[str, ClassOptions], Field(min_length=1, max_length=8)] = Field(
        default={"glomerulus": ClassOptions()},
        description="Classes to segment; class i is bit i of the labels.",
    )
    models: Annotated[
        dict[str, Annotated[ModelOptions | MasksModel, Field(discriminator="kind")]],
        Field(min_length=1),
    ] = Field(default={"holohisto": HolohistoModel()}, description="Models to train and compare.")
    reference: str | None = Field(
        default=None,
        description="Model against which the others are tested. Empty: the first one.",
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
    gallery: GalleryOptions = GalleryOptions()
    report: ReportOptions = ReportOptions()

    @field_validator("classes", "models")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Names become parts of file names."""
        for name in value:
            if not NAME.fullmatch(name):
                raise ValueError(f"name {name!r} must match {NAME.pattern}")
        if twins := [name for name in value if [n.lower() for n in value].count(name.lower()) > 1]:
            raise ValueError(f"names that differ only in case: {', '.join(twins)}")
        return value

    @model_validator(mode="after")
    def _reference_is_a_model(self) -> "Config":
        if self.reference is not None and self.reference not in self.models:
            raise ValueError(f"reference {self.reference!r} is not one of {sorted(self.models)}")
        return self

    @model_validator(mode="after")
    def _masks_are_of_classes(self) -> "Config":
        for key in ("split_touching", "min_probability"):
            unknown = sorted(set(getattr(self.mask, key)) - set(self.classes))
            if unknown and key in self.mask.model_fields_set:
                raise ValueError(
                    f"mask.{key} names {unknown[0]!r}, which is not one of {sorted(self.classes)}"
                )
        return self

    @property
    def reference_model(self) -> str:
        """Name of the model against which the others are tested."""
        return self.reference or next(iter(self.models))

    @property
    def computed(self) -> dict[str, ModelOptions]:
        """Models that are trained and run here."""
        return {n: m for n, m in self.models.items() if not isinstance(m, MasksModel)}

    @property
    def from_elsewhere(self) -> dict[str, MasksModel]:
        """Models whose masks were made by another tool."""
        return {n: m for n, m in self.models.items() if isinstance(m, MasksModel)}

    @property
    def over_tokens(self) -> list[str]:
        """Names of the models that read tokens."""
        return [name for name, model in self.computed.items() if reads_tokens(model)]

    def encodings(self, split: str) -> int:
        """Return the number of variants in the token map of a slide of this split; 0: no map."""
        learning = [name for name in self.over_tokens if not self.computed[name].weights]
        taught = split in ("train", "val") and bool(learning)
        segmented = split in self.infer.splits and bool(self.over_tokens)
        if self.tokens.mode == "online" or not (taught or segmented):
            return 0
        return self.tokens.variants if split == "train" else 1
