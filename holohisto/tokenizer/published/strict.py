"""Checks shared by all layouts: options and weights must be exactly those of a VQGAN."""

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from holohisto.config.text_files import shown
from holohisto.errors import HolohistoError, SeveralErrors
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.vqgan import VQGAN

Size = Annotated[int, Field(ge=1, le=16_384)]
Levels = Annotated[tuple[Size, ...], Field(min_length=2, max_length=7)]


class Options(BaseModel):
    """Options of a published network; options without a field here do not alter its tokens."""

    model_config = ConfigDict(frozen=True)


Kind = TypeVar("Kind", bound=BaseModel)


def validated(kind: type[Kind], data: Any, where: Path) -> Kind:
    """Check options, all mistakes at once.

    Raises:
        SeveralErrors: one line for each option that is missing, wrong or not supported.
    """
    with one_line_each(where):
        return kind.model_validate(data)


@contextlib.contextmanager
def one_line_each(where: Path) -> Generator[None, None, None]:
    """Report what pydantic refuses as mistakes of the file `where`, one line each."""
    try:
        yield
    except RecursionError as error:
        raise HolohistoError(where, "is nested too deeply") from error
    except ValidationError as error:
        raise SeveralErrors([_line(where, item) for item in error.errors()]) from error


def _line(where: Path, item: Any) -> str:
    key = ".".join(str(key) for key in item["loc"])
    problem = item["msg"].removeprefix("Value error, ")
    if not key:
        return f"{where}: {problem}"
    value = "" if item["type"] == "missing" else f" (found {shown(item['input'])})"
    return f"{where}: {key}: {problem}{value}"


def attended_levels(resolution: int, attended: tuple[int, ...], levels: int) -> tuple[int, ...]:
    """Return the levels with attention, for a network that places it by the feature map's side."""
    return tuple(level for level in range(levels) if resolution // 2**level in attended)


def fill(architecture: Architecture, state: Mapping[str, Tensor], where: Path) -> VQGAN:
    """Build a VQGAN with these weights, named as taming-transformers' are.

    In evaluation state, with native statistics; weights of lower precision become fp32.

    Raises:
        HolohistoError: a weight is missing, unknown, of another shape or not finite.
    """
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in VQGAN(architecture).named_parameters()}
    _same_downscale(architecture, state, where)
    for problem, names in (
        ("lacks weights that its configuration asks for", shapes.keys() - state.keys()),
        ("holds weights that its configuration does not know", state.keys() - shapes.keys()),
    ):
        if names:
            raise HolohistoError(where, problem, found=f"{len(names)}, first {min(names)}")
    for name, shape in shapes.items():
        if state[name].shape != shape:
            raise HolohistoError(
                where,
                f"{name} is not of the shape that its configuration asks for",
                found=_times(state[name].shape),
                allowed=_times(shape),
            )
        if not state[name].isfinite().all():
            raise HolohistoError(where, f"{name} is damaged: not all its numbers are finite")
    model = VQGAN(architecture)
    model.load_state_dict(model.state_dict() | {n: w.float() for n, w in state.items()})
    return model.eval().requires_grad_(False)


def _same_downscale(architecture: Architecture, state: Mapping[str, Tensor], where: Path) -> None:
    """Report a different f as such, rather than as a long list of missing weights."""
    indices = [name.split(".")[2] for name in state if name.startswith("encoder.down.")]
    levels = 1 + max((int(index) for index in indices if index.isdecimal()), default=0)
    if indices and levels != len(architecture.multipliers):
        raise HolohistoError(
            where,
            "weights and configuration are of two networks",
            found=f"f = {2 ** (levels - 1)} in the weights",
            allowed=f"f = {architecture.downscale} as in the configuration",
        )


def _times(shape: torch.Size) -> str:
    return " x ".join(str(side) for side in shape)
