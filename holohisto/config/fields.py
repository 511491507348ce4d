"""Types and texts that several sections of the configuration share."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
Split = Literal["train", "val", "test", "predict"]
PixelRange = Literal["-1..1", "0..1"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


def _number(value: Any) -> Any:
    """Digits as a number: `--config` gives text, of which Literal knows no numbers."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Digits = BeforeValidator(_number)


class Section(BaseModel):
    """A frozen set of options; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
