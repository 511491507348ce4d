"""Types that several sections of the configuration share."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from holohisto.runtime.paths import fit_path

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
"""Names of classes and models, which become parts of file names."""
FitPath = Annotated[Path, AfterValidator(fit_path)]
"""A path that every step of a run can pass on."""
Split = Literal["train", "val", "test", "predict"]
Precision = Literal["fp32", "bf16"]
"""Precision of a network's arithmetic. The two give different tokens and labels."""
PixelRange = Literal["-1..1", "0..1"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Mpp = Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False)]
"""Micrometres per pixel."""
Side = Annotated[int, Field(ge=1, lt=2**31)]
"""Length of a side, pixels."""
Pixels = tuple[Side, Side]
"""Width and height."""
Count = Annotated[int, Field(ge=1, lt=2**31)]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
TileSide = Annotated[int, Field(ge=64, le=2**16)]
TileSize = tuple[TileSide, TileSide]
"""Width and height, working pixels."""
EXPERT: dict[str, Any] = {"expert": True}
"""Marks a key that most users never change; the reference lists it in a table of its own."""


def _number(value: Any) -> Any:
    """Return digits as a number: `--config` passes text, and Literal does not convert it."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Digits = BeforeValidator(_number)


class Section(BaseModel):
    """A frozen set of options; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def first_mistake(error: Exception) -> str:
    """Return the first mistake that pydantic found as `key: problem`; of others the message."""
    if not isinstance(error, ValidationError):
        return str(error)
    item = error.errors()[0]
    key = ".".join(str(part) for part in item["loc"])
    problem = item["msg"].removeprefix("Value error, ")
    return f"{key}: {problem}" if key else problem
